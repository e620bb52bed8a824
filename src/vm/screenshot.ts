import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import type { QmpClient } from '../channel/qmp/qmp-client.js'
import { VMError } from '../errors.js'
import { pngFromPpm } from './png.js'

/** How long QEMU may take for a picture, milliseconds: its main loop may hang. Measured: 5. */
const SCREENSHOT_MS = 2000
/** How long it may take for each GiB of memory, milliseconds. Measured: 0.7 s, on a disk of its own. */
const DUMP_MS_PER_GIB = 60_000

/**
 * Saves what the guest's display shows, as PNG. A guest without a display has none, and a QEMU that does not
 * answer any more gives none: then there is no file.
 */
export async function takeScreenshot(qmp: QmpClient, path: string): Promise<void> {
  const take = (filename: string, format: 'png' | 'ppm') =>
    qmp.execute('screendump', { filename, format }, { timeoutMs: SCREENSHOT_MS })
  const refusal = await take(path, 'png').then(
    () => undefined,
    (error: unknown) => (error instanceof VMError ? (error.details.got ?? '') : String(error)),
  )
  // A QEMU that was built without libpng says so.
  if (refusal === undefined || !/png/i.test(refusal)) return
  const raw = `${path}.ppm`
  try {
    await take(raw, 'ppm')
    await writeFile(path, pngFromPpm(await readFile(raw)))
  } catch {
    // As above.
  } finally {
    await rm(raw, { force: true })
  }
}

/** Saves the guest's memory as an ELF core, for crash(8) and gdb(1). The guest stands still meanwhile. */
export async function dumpMemory(qmp: QmpClient, path: string, memoryBytes: number): Promise<void> {
  const timeoutMs = Math.max(1, memoryBytes / 1024 ** 3) * DUMP_MS_PER_GIB
  try {
    await qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${path}` }, { timeoutMs })
    await chmod(path, 0o600) // QEMU makes it read-only
  } catch {
    // No space, or QEMU is gone: half a memory is of no use.
    await rm(path, { force: true })
  }
}
