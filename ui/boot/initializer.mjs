// Trunk calls this around the download of the page's wasm: its progress goes into the waiting
// buttons' status line, its failure into the words that ui/boot/first.js shows.
export default function initializer() {
  const line = document.getElementById("loading");
  return {
    onStart() {},
    onProgress({ current, total }) {
      if (line && total > 0) {
        const percent = Math.min(100, Math.floor((100 * current) / total));
        line.textContent = `Loading the page’s program: ${percent} %`;
      }
    },
    onComplete() {},
    onSuccess() {},
    onFailure(error) {
      dispatchEvent(
        new CustomEvent("thrum-load-failed", { detail: String(error?.message ?? error) })
      );
    },
  };
}
