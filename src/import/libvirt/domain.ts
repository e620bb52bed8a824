import { UsageError, vmError } from '../../errors.js'
import type { SkippedSetting } from '../../spec/import-report.js'
import type { VMOptions } from '../../spec/options.js'
import { readBoot, readClock } from './boot.js'
import { readCpu, readMemory, readNuma } from './cpu.js'
import { readDevices } from './devices.js'
import { readDisks } from './disks.js'
import { readInterfaces } from './interfaces.js'
import { explainLeftovers } from './leftover-reasons.js'
import type { Note } from './note.js'
import { XmlElement } from './xml-element.js'

/** Options of a libvirt domain, and the settings that were not imported. */
export interface ImportedDomain {
  readonly options: VMOptions
  readonly skippedSettings: readonly SkippedSetting[]
}

/**
 * Converts a libvirt domain to options. `skippedSettings` lists unsupported settings with the
 * reason. Does not check that files exist, except the variable store of the firmware.
 *
 * @throws {UsageError} INVALID_OPTIONS when the text is not a domain; MACHINE_UNSUPPORTED for an
 *   unsupported architecture.
 */
export function importDomain(xml: string): ImportedDomain {
  const domain = parse(xml)
  const notes: SkippedSetting[] = []
  const note: Note = (what, path, reason) => notes.push({ what, path, reason })
  const options = withoutUndefined({
    name: cleanName(domain.child('name')?.text, note),
    ...readAccelerator(domain, note),
    ...readBoot(domain, note),
    ...readCpu(domain, note),
    ...readMemory(domain, note),
    ...readNuma(domain),
    ...readClock(domain, note),
    ...readDisks(domain, note),
    ...readInterfaces(domain, note),
    ...readDevices(domain, note),
  }) as VMOptions
  return { options, skippedSettings: [...notes, ...explainLeftovers(domain.leftovers())] }
}

function parse(xml: string): XmlElement {
  try {
    const root = XmlElement.parse(xml)
    if (root.name !== 'domain') throw notADomainError(`<${root.name}>`)
    return root
  } catch (error) {
    throw error instanceof UsageError ? error : notADomainError((error as Error).message, error)
  }
}

function notADomainError(got: string, cause?: unknown) {
  return vmError('INVALID_OPTIONS', {
    summary: 'The option `libvirtXML` does not contain a libvirt domain.',
    expected: 'the path or content of a domain XML file, as printed by `virsh dumpxml`',
    got,
    hint: 'Validate the file: `virt-xml-validate FILE domain`.',
    cause,
  })
}

/** Removes characters that domain names allow and host names do not. */
function cleanName(name: string | undefined, note: Note): string | undefined {
  if (name === undefined || name === '') return undefined
  const clean = name
    .replace(/[^\w.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 60)
  if (clean !== name)
    note(`<name>${name}</name>`, 'name', `the name is also the host name, so '${clean}' is used`)
  return clean === '' ? undefined : clean
}

function readAccelerator(domain: XmlElement, note: Note): VMOptions {
  const type = domain.attribute('type')
  domain.attribute('id')
  if (type === 'qemu') return { accel: 'tcg' }
  if (type !== undefined && type !== 'kvm') note(`<domain type="${type}">`, '@type', 'QEMU runs the guest')
  return {}
}

function withoutUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
