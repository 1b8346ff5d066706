import type { DuplicateImage, Match } from "../api/calls";

/** An image of a group as a search would find it with the image that was made of it; `size` is that of the one it was made of. */
export function asMatch(image: DuplicateImage, size: { width: number; height: number } = image): Match {
  const { id, distance, metadata, thumbnail_url, source, edits, alignment, residual, confidence, outline } = image;
  return {
    id, distance: distance ?? 0, metadata, thumbnail_url, source, edits, alignment, residual, confidence, outline,
    width: size.width, height: size.height, media_type: null, same_bytes: null, same_pixels: null, truncated: null, larger: null,
    hypothesis: null, verdict: edits ? "altered copy" : null,
  };
}
