/**
 * Keeps this process from doing anything for so long, again and again with a short pause, as a busy host does. Gives a
 * function that ends it.
 */
export function stallEvery(stallMs: number): () => void {
  const lock = new Int32Array(new SharedArrayBuffer(4))
  const timer = setInterval(() => Atomics.wait(lock, 0, 0, stallMs), stallMs + 20)
  return () => clearInterval(timer)
}
