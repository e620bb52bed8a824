import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Blocks this process repeatedly for some time, with short pauses, like a busy host. Returns a function that ends it.
 */
export function stallEvery(stallMs: number): () => void {
  const lock = new Int32Array(new SharedArrayBuffer(4))
  const timer = setInterval(() => Atomics.wait(lock, 0, 0, stallMs), stallMs + 20)
  return () => clearInterval(timer)
}

/** Starts {@link stallEvery} when a guest below `tmpdir` prints its first output, so that earlier steps are not slowed down. */
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
