/** What the page asks of the API; every type comes from its OpenAPI document. */
import type { components } from "./schema";
import { take, TURN_MS, WAIT_MS, wanted } from "./seen";

type Schemas = components["schemas"];
export type SearchAnswer = Omit<Schemas["SearchAnswer"], "matches"> & { matches: Match[] };
/** The page asks for all fields. */
export type Match = Required<Schemas["SearchMatch"]>;
export type Edit = Schemas["EditAnswer"];
export type ImageAnswer = Schemas["ImageAnswer"];
export type IndexAnswer = Schemas["IndexAnswer"];
export type Camera = Schemas["CameraAnswer"];
export type HistoryRecord = Schemas["HistoryRecord"];
export type Timeline = Schemas["TimelineAnswer"];
export type Written = Schemas["WriteAnswer"];
export type Duplicates = Schemas["DuplicatesAnswer"];
export type DuplicateGroup = Schemas["DuplicateGroupAnswer"];
export type DuplicateImage = Schemas["DuplicateImage"];
export type DuplicateClass = DuplicateGroup["class"];
export type DistinctSet = Schemas["DistinctAnswer"];
export type Rejected = Schemas["RejectedAnswer"];
export type Watch = Schemas["WatchAnswer"];
export type Matched = Schemas["MatchAnswer"];
export type Collection = Schemas["CollectionAnswer"];
export type Session = Schemas["SessionAnswer"];

export const DEFAULT_COLLECTION = "default";
/** The collection that the address names. Another one is another load of the page, so nothing under way can end up in it. */
export const COLLECTION = new URLSearchParams(location.search).get("collection") ?? DEFAULT_COLLECTION;
/** Where the page lies, with a slash at its end: a proxy may serve it below a path. */
export const BASE = location.pathname.replace(/[^/]*$/, "");
const ALL = `${BASE}v1`;
const ROOT = COLLECTION === DEFAULT_COLLECTION ? ALL : `${ALL}/collections/${encodeURIComponent(COLLECTION)}`;

const NOT_COVERED = "not-covered";
const PAUSE_MS = 100;
const TRIES = 4;

/** The API refused, or did not answer: then `status` is 0. */
export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, detail: string) {
    super(detail);
  }
}

/** What is searched for: an image of the gallery, a picture that was never published, or one that the API fetches. */
export type Question =
  | { kind: "id"; id: string }
  | { kind: "image"; image: Blob; name: string; minOffsets?: string }
  | { kind: "address"; url: string };

/** How matches are ordered; which ones they are, distance alone decides. */
export type Sort = "best" | "biggest" | "newest" | "oldest" | "most_changed";
/**
 * `thorough` also looks for the query turned, mirrored, as a negative, and for parts of it. `high` looks at more candidates where the
 * engine finds about the nearest; an exact one finds them all anyway.
 */
export type Effort = "normal" | "high" | "thorough";
type Asking = { sort?: Sort; effort?: Effort; isExplained?: boolean; signal?: AbortSignal };

export async function search(question: Question, k: number, { sort, effort, isExplained, signal }: Asking = {}): Promise<SearchAnswer> {
  const query = new URLSearchParams({ k: String(k) });
  if (sort && sort !== "best") query.set("sort", sort);
  if (isExplained || sort === "most_changed") query.set("explain", "true");
  if (effort && effort !== "normal") query.set("effort", effort);
  if (question.kind === "address") query.set("url", question.url);
  const [body, type] = await asked(question, effort, signal);
  const minOffsets = question.kind === "image" ? question.minOffsets : undefined;
  return onlyForward(query, minOffsets, signal, async () => {
    const answer = await call<SearchAnswer>(`${ROOT}/search?${query}`, "POST", body, type, signal);
    if (take(answer.coverage) === "foreign") throw new Refusal(412, NOT_COVERED, "The topic was created anew, and Kafka cannot say yet which one this answer is of.");
    return answer;
  });
}

async function asked(question: Question, effort?: Effort, signal?: AbortSignal): Promise<[body?: BodyInit, type?: string]> {
  if (question.kind === "image") return [question.image, "application/octet-stream"];
  if (question.kind === "address") return [];
  // Only pixels can be turned and cut; an id alone has none.
  if (effort === "thorough") return [await original(question.id, signal), "application/octet-stream"];
  return [JSON.stringify({ image_id: question.id }), "application/json"];
}

/** The answer that covers what this page has seen; asked for again, for a while, where a machine does not cover it yet. */
async function onlyForward<T>(query: URLSearchParams, minOffsets: string | undefined, signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const leftMs = Math.max(0, Math.round(deadline - performance.now()));
    const least = wanted(minOffsets);
    if (least) {
      query.set("min_offsets", least);
      query.set("wait_ms", String(Math.min(leftMs, TURN_MS)));
    }
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== NOT_COVERED || signal?.aborted) throw error;
      if (!leftMs) throw new Refusal(error.status, error.code, "The service does not cover yet what you have seen or published: it is catching up.");
    }
    await pause(PAUSE_MS);
  }
}

/** Of an image that this page has seen a machine that is behind knows nothing yet: what is unknown is asked for again, a few times. */
async function soonKnown<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 404 || tries === TRIES || signal?.aborted) throw error;
    }
    await pause(TURN_MS);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function image(id: string, signal?: AbortSignal): Promise<ImageAnswer> {
  return soonKnown(signal, () => call(`${ROOT}/images?${new URLSearchParams({ id })}`, "GET", undefined, undefined, signal));
}

export function rejected(limit: number): Promise<Rejected> {
  return call(`${ROOT}/rejected?limit=${limit}`);
}

/** Those that can be asked, in the order of their names. */
export async function collections(): Promise<Collection[]> {
  const { collections: all } = await call<Schemas["CollectionsAnswer"]>(`${ALL}/collections`);
  return all.filter(({ state }) => state !== "dropping");
}

type Page = { class?: DuplicateClass | undefined; limit?: number; cursor?: string; refresh?: boolean; minOffsets?: string | undefined };

export function duplicates({ class: kind, limit = 20, cursor, refresh, minOffsets }: Page, signal?: AbortSignal): Promise<Duplicates> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (kind) query.set("class", kind);
  if (cursor) query.set("cursor", cursor);
  if (refresh) query.set("refresh", "true");
  return onlyForward(query, minOffsets, signal, () => call(`${ROOT}/duplicates?${query}`, "GET", undefined, undefined, signal));
}

/** Remember that no two of these images are duplicates, as they are shown. */
export function keepApart(images: readonly DuplicateImage[]): Promise<DistinctSet> {
  const shown = images.map(({ id, source: { log, partition, offset } }) => ({ id, at: `${log}:${partition}:${offset}` }));
  return call(`${ROOT}/duplicates/distinct`, "POST", JSON.stringify({ images: shown }), "application/json");
}

export async function forgetApart({ name }: DistinctSet): Promise<void> {
  await call(`${ROOT}/duplicates/distinct?${new URLSearchParams({ name })}`, "DELETE", undefined, undefined, undefined, (response) => response.text());
}

/** Publish an image under the SHA-256 of its bytes; the file's name goes along as metadata. */
export function publish(file: File): Promise<Written> {
  const form = new FormData();
  form.set("file", file);
  form.set("metadata", JSON.stringify({ name: file.name }));
  return call(`${ROOT}/images`, "POST", form);
}

export function remove(id: string): Promise<Written> {
  return call(`${ROOT}/images?${new URLSearchParams({ id })}`, "DELETE");
}

export function timeline({ id, log, partition, offset }: Written): Promise<Timeline> {
  return call(`${ROOT}/images/timeline?${new URLSearchParams({ id, at: `${log}:${partition}:${offset}` })}`);
}

/** Be told of every image from now on that is no farther from the question. */
/** Questions whose pictures this page has, or the gallery. */
export type Watchable = Exclude<Question, { kind: "address" }>;

export function createWatch(question: Watchable, distance: number, name: string): Promise<Watch> {
  if (question.kind === "id") {
    const body = JSON.stringify({ image_id: question.id, max_distance: distance, name });
    return call(`${ROOT}/watches`, "POST", body, "application/json");
  }
  const query = new URLSearchParams({ max_distance: String(distance), name });
  return call(`${ROOT}/watches?${query}`, "POST", question.image, "application/octet-stream");
}

export const watches = async (): Promise<Watch[]> => (await call<Schemas["WatchesAnswer"]>(`${ROOT}/watches`)).watches;

export function matchesOf(watch: string, limit: number): Promise<Schemas["MatchesAnswer"]> {
  return call(`${ROOT}/watches/${watch}/matches?limit=${limit}`);
}

export async function deleteWatch(watch: string): Promise<void> {
  await call(`${ROOT}/watches/${watch}`, "DELETE", undefined, undefined, undefined, async () => null);
}

export const watchImageUrl = (watch: string): string => `${ROOT}/watches/${watch}/image`;
export const watchEventsUrl = `${ROOT}/watches/events`;
export const eventsUrl = `${ROOT}/index/events`;
export const originalUrl = (id: string): string => `${ROOT}/images/original?${new URLSearchParams({ id })}`;
export const thumbnailUrl = (id: string): string => `${ROOT}/images/thumbnail?${new URLSearchParams({ id })}`;

const original = (id: string, signal?: AbortSignal): Promise<Blob> =>
  soonKnown(signal, () => call(originalUrl(id), "GET", undefined, undefined, signal, (response) => response.blob()));

export const session = (): Promise<Session> => call(`${ALL}/session`);

/** From here on the browser sends the key by itself, also for pictures and event streams; no script can read it. */
export const signIn = (key: string): Promise<Session> =>
  call(`${ALL}/session`, "POST", undefined, undefined, undefined, undefined, { Authorization: `Bearer ${key}` });

export const signOut = (): Promise<null> => call(`${ALL}/session`, "DELETE", undefined, undefined, undefined, async () => null);

/** Sent to the window when the API wants a key that it was not given, or gives no more. */
export const KEY_WANTED = "key-wanted";

async function call<T>(
  address: string, method = "GET", body?: BodyInit, contentType?: string, signal?: AbortSignal,
  read: (response: Response) => Promise<unknown> = (response) => response.json(), headers: Record<string, string> = {},
): Promise<T> {
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(address, {
      method, body: body ?? null, signal: signal ?? null, headers: contentType ? { ...headers, "Content-Type": contentType } : headers,
    });
    answer = await (response.ok ? read(response) : response.json().catch(() => null));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "unreachable", "The service does not answer. Is it running? Try again in a moment.");
  }
  if (response.ok) return answer as T;
  const { code = "failed", detail = `The service answered with status ${response.status}.`, request_id } =
    (answer ?? {}) as Partial<Schemas["Problem"]>;
  if (response.status === 401) dispatchEvent(new Event(KEY_WANTED));
  // What is no fault of the question is looked up in the log, by the request's id.
  throw new Refusal(response.status, code, response.status >= 500 && request_id ? `${detail} (request ${request_id})` : detail);
}
