/** Chromium calls the C locale "en-US@posix", which Intl refuses, and uPlot asks Intl for it as soon as it is loaded. */
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
