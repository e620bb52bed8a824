import { join } from 'node:path'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import type { OpenFolder } from '../../common/files/open-folder.js'
import { chmodWrittenFile, readWrittenFile } from '../../common/files/written-file.js'
import { VMError, vmError } from '../../errors.js'
import { decodePpm, encodePng } from './picture.js'

/** How long QEMU may take for a picture, milliseconds: its main loop may hang. Measured: 5. */
const SCREENSHOT_MS = 2000
/** How long it may take for each GiB of memory, milliseconds. Measured: 0.7 s, on a disk of its own. */
const DUMP_MS_PER_GIB = 60_000
/** Largest picture that is read: PPM of a screen of 8192 x 8192 pixels takes 192 MiB. */
export const MOST_PICTURE_BYTES = 256 * 1024 ** 2

/** A file that QEMU writes, in a folder of this process or of the run. */
export interface FileIn {
  readonly folder: OpenFolder
  readonly name: string
}

const pathOf = ({ folder, name }: FileIn) => join(folder.path, name)

/**
 * Saves what the guest's display shows, as PNG. A guest without a display has none, and a QEMU that does not
 * answer any more gives none: then there is no file.
 */
export async function takeScreenshot(qmp: QmpClient, file: FileIn): Promise<void> {
  await saveScreen(qmp, file, SCREENSHOT_MS).catch(() => {})
}

/**
 * Gives what the guest's display shows, as PNG.
 *
 * @param file a file for it in between, which is gone then.
 * @throws {UsageError} DISPLAY_UNAVAILABLE when the guest has no display.
 * @throws {InfrastructureError} QMP_FAILED when QEMU does not answer.
 */
export async function readScreenshot(qmp: QmpClient, file: FileIn, timeFactor: number): Promise<Buffer> {
  try {
    await saveScreen(qmp, file, SCREENSHOT_MS * Math.max(5, timeFactor))
    return await readWrittenFile(pathOf(file), MOST_PICTURE_BYTES)
  } catch (error) {
    const got = error instanceof VMError ? (error.details.got ?? '') : ''
    // The text is QEMU's, which a guest may have taken over: a long one would take long to match.
    if (!/no console|no such console|device .* not found/i.test(got.slice(0, 1000))) throw error
    throw vmError('DISPLAY_UNAVAILABLE', {
      summary: 'There is no screenshot of this guest: it has no display.',
      got,
      hint: "give it a display card: vga: 'std'. What is on its serial console, `vm.serial` has.",
    })
  } finally {
    await file.folder.remove(file.name)
  }
}

async function saveScreen(qmp: QmpClient, { folder, name }: FileIn, timeoutMs: number): Promise<void> {
  const take = (file: string, format: 'png' | 'ppm') =>
    qmp.execute('screendump', { filename: pathOf({ folder, name: file }), format }, { timeoutMs })
  const refusal = await take(name, 'png').then(
    () => undefined,
    (error: unknown) => error,
  )
  if (refusal === undefined) return
  // A QEMU that was built without libpng says so.
  if (!(refusal instanceof VMError) || !/png/i.test(refusal.details.got ?? '')) throw refusal
  const raw = `${name}.ppm`
  try {
    await take(raw, 'ppm')
    const png = await encodePng(
      decodePpm(await readWrittenFile(pathOf({ folder, name: raw }), MOST_PICTURE_BYTES)),
    )
    await folder.write(name, png)
  } finally {
    await folder.remove(raw)
  }
}

/** Saves the guest's memory as an ELF core, for crash(8) and gdb(1). The guest stands still meanwhile. */
export async function dumpMemory(qmp: QmpClient, file: FileIn, memoryBytes: number): Promise<void> {
  const path = pathOf(file)
  const timeoutMs = Math.max(1, memoryBytes / 1024 ** 3) * DUMP_MS_PER_GIB
  try {
    await qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${path}` }, { timeoutMs })
    await chmodWrittenFile(path, 0o600) // QEMU makes it read-only
  } catch {
    // No space, or QEMU is gone: half a memory is of no use.
    await file.folder.remove(file.name)
  }
}
