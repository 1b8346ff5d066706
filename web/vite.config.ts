import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // The page may lie below any path.
  base: "./",
  plugins: [react()],
  build: {
    // Nothing is inlined: the page's policy lets scripts and fetches come from its own origin alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  // `npm run dev` talks to an API that runs beside it.
  server: { proxy: { "/v1": "http://127.0.0.1:8000" } },
});
