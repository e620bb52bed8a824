import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Keeps this process from doing anything for so long, again and again with a short pause, as a busy host does. Gives a
 * function that ends it.
 */
export function stallEvery(stallMs: number): () => void {
  const lock = new Int32Array(new SharedArrayBuffer(4))
  const timer = setInterval(() => Atomics.wait(lock, 0, 0, stallMs), stallMs + 20)
  return () => clearInterval(timer)
}

/** Does so from the moment on that a guest below `tmpdir` prints something: what comes before would only take longer. */
export function stallOncePrinting(tmpdir: string, stallMs: number): () => void {
  let stop = () => clearInterval(timer)
  const timer = setInterval(() => {
    const folders = readdirSync(tmpdir).filter((name) => name.startsWith('withvm-'))
    const logs = folders.map((name) => join(tmpdir, name, 'serial.log'))
    if (!logs.some((log) => (statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 0)) return
    stop()
    stop = stallEvery(stallMs)
  }, 20)
  return () => stop()
}
