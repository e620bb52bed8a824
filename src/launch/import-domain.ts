import type { SkippedSetting } from '../spec/import-report.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { mergeImported, pickDefined } from './merge-imported.js'

/**
 * Options with those of the libvirt domain merged in, and without `libvirtXML`. Explicit options
 * take precedence.
 */
export interface MergedOptions {
  readonly options: VMOptions
  readonly skippedSettings: readonly SkippedSetting[]
}

/**
 * Merges the settings of the libvirt domain in `libvirtXML` into the options.
 *
 * @throws {UsageError} INVALID_OPTIONS, IMAGE_NOT_FOUND.
 */
export async function mergeDomain(options: VMOptions): Promise<MergedOptions> {
  if (typeof options !== 'object' || options === null || options.libvirtXML === undefined) {
    return { options, skippedSettings: [] }
  }
  const problems = findOptionProblems(options)
  if (problems.length > 0) throw optionError(problems)
  const { readDomain } = await import('../import/libvirt/read-domain.js')
  const { libvirtXML, ...given } = options
  const explicit = pickDefined(given)
  const { options: imported, skippedSettings } = await readDomain(libvirtXML, explicit as VMOptions)
  return { options: mergeImported(imported as VMOptions, explicit), skippedSettings }
}
