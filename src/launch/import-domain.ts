import type { NotCarriedOver } from '../spec/not-carried-over.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import type { VM } from '../vm/guest/vm.js'
import { mergeImported, pickDefined } from './merge-imported.js'

/** Options with those of the libvirt domain merged in, and without `libvirtXML`. Explicit options take precedence. */
export interface MergedOptions {
  readonly options: VMOptions<VM>
  readonly notCarriedOver: readonly NotCarriedOver[]
}

/**
 * Merges the settings of the libvirt domain in `libvirtXML` into the options.
 *
 * @throws {UsageError} INVALID_OPTIONS, IMAGE_NOT_FOUND.
 */
export async function mergeDomain(options: VMOptions<VM>): Promise<MergedOptions> {
  if (typeof options !== 'object' || options === null || options.libvirtXML === undefined) {
    return { options, notCarriedOver: [] }
  }
  const problems = findOptionProblems(options)
  if (problems.length > 0) throw optionError(problems)
  const { readDomain } = await import('../import/libvirt/read-domain.js')
  const { libvirtXML, ...given } = options
  const explicit = pickDefined(given)
  const { options: imported, notCarriedOver } = await readDomain(libvirtXML, explicit as VMOptions)
  return { options: mergeImported(imported as VMOptions<VM>, explicit), notCarriedOver }
}
