import { join } from 'node:path'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import type { OpenFolder } from '../../common/files/open-folder.js'
import { chmodWrittenFile, readWrittenFile } from '../../common/files/written-file.js'
import { GIB, MIB } from '../../common/units.js'
import { VMError, vmError } from '../../errors.js'
import { decodePpm, encodePng } from './picture.js'

/** Time limit for a screenshot, milliseconds: the main loop of QEMU may hang. Measured: 5. */
const SCREENSHOT_TIMEOUT_MS = 2000
/** Time limit for a memory dump, milliseconds per GiB. Measured: 0.7 s, on a dedicated disk. */
const DUMP_TIMEOUT_MS_PER_GIB = 60_000
/**
 * Maximum size of a picture that is read: a PPM of a screen of 8192 x 8192 pixels takes 192 MiB.
 */
export const MAX_PICTURE_BYTES = 256 * MIB

/** File written by QEMU, in a folder of this process or of the run. */
export interface FileIn {
  readonly folder: OpenFolder
  readonly name: string
}

const pathOf = ({ folder, name }: FileIn) => join(folder.path, name)

/**
 * Saves a screenshot of the guest's display as PNG. No file is created if the guest has no display
 * or QEMU does not respond.
 */
export async function takeScreenshot(qmp: QmpClient, file: FileIn): Promise<void> {
  await saveScreen(qmp, file, SCREENSHOT_TIMEOUT_MS).catch(() => {})
}

/**
 * Returns a screenshot of the guest's display as PNG.
 *
 * @param file a temporary file, which is removed afterwards.
 * @throws {UsageError} DISPLAY_UNAVAILABLE when the guest has no display.
 * @throws {InfrastructureError} QMP_FAILED when QEMU does not respond.
 */
export async function readScreenshot(qmp: QmpClient, file: FileIn, timeFactor: number): Promise<Buffer> {
  try {
    await saveScreen(qmp, file, SCREENSHOT_TIMEOUT_MS * Math.max(5, timeFactor))
    return await readWrittenFile(pathOf(file), MAX_PICTURE_BYTES)
  } catch (error) {
    const got = error instanceof VMError ? (error.details.got ?? '') : ''
    if (!/no console|no such console|device .* not found/i.test(got)) throw error
    throw vmError('DISPLAY_UNAVAILABLE', {
      summary: 'The guest has no display, so no screenshot was taken.',
      got,
      hint: "Add a display card with `vga: 'std'`. The output of the serial console is in `vm.serial`.",
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
  // A QEMU that was built without libpng reports an error that names PNG.
  if (!(refusal instanceof VMError) || !/png/i.test(refusal.details.got ?? '')) throw refusal
  const raw = `${name}.ppm`
  try {
    await take(raw, 'ppm')
    const png = await encodePng(
      decodePpm(await readWrittenFile(pathOf({ folder, name: raw }), MAX_PICTURE_BYTES)),
    )
    await folder.write(name, png)
  } finally {
    await folder.remove(raw)
  }
}

/**
 * Saves the guest's memory as an ELF core for crash(8) and gdb(1). The guest is paused during the
 * dump.
 */
export async function dumpMemory(qmp: QmpClient, file: FileIn, memoryBytes: number): Promise<void> {
  const path = pathOf(file)
  const timeoutMs = Math.max(1, memoryBytes / GIB) * DUMP_TIMEOUT_MS_PER_GIB
  try {
    await qmp.execute('dump-guest-memory', { paging: false, protocol: `file:${path}` }, { timeoutMs })
    await chmodWrittenFile(path, 0o600) // QEMU makes it read-only
  } catch {
    // The disk is full or QEMU has ended: a partial dump is useless.
    await file.folder.remove(file.name)
  }
}
