/** Before the page: where the API wants a key, a person is asked for it. */
import { useCallback, useEffect, useState, type FormEvent } from "react";

import { App } from "../App";
import { KEY_WANTED, session as readSession, signIn, signOut, type Session } from "../api/calls";
import { asRefusal } from "../search/useSearch";
import "./door.css";

/** Where no key is needed, or it is not known yet. */
const ANYBODY: Session = { key: null, name: null, scopes: [], collections: null };

export function Door() {
  const [session, setSession] = useState<Session | "wanted" | null>(null);
  useEffect(() => {
    const ask = () => setSession("wanted");
    addEventListener(KEY_WANTED, ask);
    readSession().then(setSession, (error: unknown) => asRefusal(error).status !== 401 && setSession(ANYBODY));
    return () => removeEventListener(KEY_WANTED, ask);
  }, []);
  const leave = useCallback(() => void signOut().catch(() => undefined).then(() => location.reload()), []);
  if (session === "wanted") return <SignIn done={setSession} />;
  return session && <App session={session} signOut={leave} />;
}

function SignIn({ done }: { done: (session: Session) => void }) {
  const [problem, setProblem] = useState("");
  const [isAsking, setIsAsking] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get("key") ?? "").trim();
    setIsAsking(true);
    signIn(key).then(done, (error: unknown) => setProblem(asRefusal(error).message)).finally(() => setIsAsking(false));
  };
  return (
    <main className="door">
      <form onSubmit={submit}>
        <h1>lookalike</h1>
        <label htmlFor="key">Your key</label>
        {/* A password manager may keep it. */}
        <input id="key" name="key" type="password" autoComplete="current-password" required autoFocus aria-describedby="told" />
        <button disabled={isAsking}>Sign in</button>
        <p id="told" role="alert">{problem}</p>
        <p>Whoever runs this service makes keys, with <code>lookalike keys create</code>. The browser keeps yours until you close it or sign out.</p>
      </form>
    </main>
  );
}
