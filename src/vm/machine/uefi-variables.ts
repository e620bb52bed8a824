import { chmod, copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { QEMU_IMG, runTool } from '../../common/process/run-tool.js'
import { addBootOption } from '../../disk/efi-variables.js'
import type { UefiFiles } from '../../host/firmware.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'
import type { MachineHost } from './machine.js'

/**
 * The firmware writes its variables: each guest has a copy of those that it begins with, with what it is to boot by HTTP.
 *
 * @throws {UsageError} FIRMWARE_INVALID where a boot option cannot be written to them.
 */
export async function makeVariables(
  workspace: Workspace,
  { firmware, netboot }: MachineSpec,
  { firmware: files }: MachineHost,
): Promise<UefiFiles | undefined> {
  if (firmware.type === 'bios' || files === undefined) return undefined
  const from = firmware.vars ?? files.vars.path
  const path = workspace.path('uefi-vars')
  const { format } = files.vars
  if (netboot?.httpBoot === undefined) {
    await copyFile(from, path)
    await chmod(path, 0o600) // that of the package may be read-only
    return { ...files, vars: { path, format } }
  }
  const option = { description: 'withvm HTTP boot', uri: netboot.httpBoot, once: netboot.once }
  await writeFile(path, addBootOption(await readRaw(from, format, path), option), { mode: 0o600 })
  return { ...files, vars: { path, format: 'raw' } }
}

/** What a chip has in it; `scratch` is a file to make, and is removed. */
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
