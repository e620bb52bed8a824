import type { NotCarriedOver } from '../spec/not-carried-over.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import type { VM } from '../vm/guest/vm.js'

/** Options without `libvirtXML`: what it says is among them, where nothing beside it says otherwise. */
export interface MergedOptions {
  readonly options: VMOptions<VM>
  readonly notCarriedOver: readonly NotCarriedOver[]
}

/**
 * Reads the domain that the options name.
 * @throws {UsageError} INVALID_OPTIONS, IMAGE_NOT_FOUND.
 */
export async function mergeDomain(options: VMOptions<VM>): Promise<MergedOptions> {
  if (typeof options !== 'object' || options === null || options.libvirtXML === undefined) {
    return { options, notCarriedOver: [] }
  }
  const problems = findOptionProblems(options)
  if (problems.length > 0) throw optionError(problems)
  const { readDomain } = await import('../import/libvirt/read-domain.js')
  const { libvirtXML, ...beside } = options
  const { options: imported, notCarriedOver } = await readDomain(libvirtXML, beside as VMOptions)
  // A system disk is connected as the domain says where it is the domain's.
  const isOther = beside.image !== undefined || beside.hda !== undefined
  const { image, systemDisk, ...rest } = imported
  const disk = isOther ? {} : { image, systemDisk }
  const merged = { ...rest, ...disk, ...beside }
  const said = Object.entries(merged).filter(([, value]) => value !== undefined)
  return { options: Object.fromEntries(said) as VMOptions<VM>, notCarriedOver }
}
