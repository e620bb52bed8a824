import type { ImportReport } from '../spec/import-report.js'
import type { VMOptions } from '../spec/options.js'
import { mergeDomain } from './import-domain.js'
import { mergeCommandLine } from './merge-command-line.js'

/** Options with `commandLine` and `libvirtXML` merged in, and what the import changed. */
export interface ImportedOptions {
  readonly options: VMOptions
  readonly importReport: ImportReport
}

/**
 * Converts `commandLine` and `libvirtXML` to options. Explicit options take precedence.
 *
 * @throws {UsageError} INVALID_OPTIONS, IMAGE_NOT_FOUND.
 */
export async function importOptions(given: VMOptions): Promise<ImportedOptions> {
  const { options: merged, replacedArguments } = await mergeCommandLine(given)
  const { options, skippedSettings } = await mergeDomain(merged)
  return { options, importReport: { replacedArguments, skippedSettings } }
}

/** Logs what the import of a guest's options changed. */
export function logImport(
  { replacedArguments, skippedSettings }: ImportReport,
  name: string,
  log: (line: string) => void,
): void {
  for (const { from, to, reason } of replacedArguments) log(`${from} was translated to ${to}: ${reason}.`)
  const count = skippedSettings.length
  if (count === 0) return
  log(
    `${count === 1 ? '1 setting was' : `${count} settings were`} not imported from the libvirt domain of '${name}': see vm.importReport, or run \`withvm import\`.`,
  )
}
