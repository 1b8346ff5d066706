import { createRoot } from "react-dom/client";

import { Door } from "./session/Door";
import "./styles.css";

createRoot(document.getElementById("page")!).render(<Door />);
