import { chmod, copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { QEMU_IMG, runTool } from '../../common/process/run-tool.js'
import { addBootOption } from '../../disk/efi-variables.js'
import type { UefiFiles } from '../../host/firmware.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'
import type { GuestPlan, StartOrigin } from './guest-plan.js'

/**
 * Copies the UEFI variables for one guest, because the firmware writes to them: those of the
 * snapshot, if it starts from one. Adds a boot option for HTTP boot if requested.
 *
 * @throws {UsageError} FIRMWARE_INVALID when a boot option cannot be added.
 */
export async function makeVariables(
  workspace: Workspace,
  { firmware, netboot }: MachineSpec,
  { host: { firmware: files }, snapshot }: Pick<GuestPlan, 'host'> & Pick<StartOrigin, 'snapshot'>,
): Promise<UefiFiles | undefined> {
  if (firmware.type === 'bios' || files === undefined) return undefined
  const from = snapshot?.variables ?? firmware.vars ?? files.vars.path
  const path = workspace.path('uefi-vars')
  const { format } = files.vars
  if (netboot?.httpBoot === undefined) {
    await copyFile(from, path)
    await chmod(path, 0o600) // the file of the package may be read-only
    return { ...files, vars: { path, format } }
  }
  const option = { description: 'withvm HTTP boot', uri: netboot.httpBoot, once: netboot.once }
  await writeFile(path, addBootOption(await readRaw(from, format, path), option), { mode: 0o600 })
  return { ...files, vars: { path, format: 'raw' } }
}

/** Returns the raw content of a flash chip. `scratch` is a temporary file, which is removed. */
async function readRaw(path: string, format: string, scratch: string): Promise<Buffer> {
  if (format === 'raw') return readFile(path)
  await runTool({
    tool: QEMU_IMG,
    args: ['convert', '-f', format, '-O', 'raw', path, scratch],
    purpose: 'reading the variables of the firmware',
    timeoutMs: 60_000,
  })
  try {
    return await readFile(scratch)
  } finally {
    await rm(scratch, { force: true })
  }
}
