import { existsSync } from 'node:fs'
import { vmError } from '../../errors.js'
import { ARCHITECTURES, type GuestArch, hostArch } from '../../spec/architectures.js'
import type { VMOptions } from '../../spec/options.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

/** Architecture names of libvirt (virArch) that differ from those of QEMU. */
const LIBVIRT_NAMES: Readonly<Record<string, GuestArch>> = { i686: 'i386', armv7l: 'arm', ppc64le: 'ppc64' }

/** Reads the machine type, the firmware and direct kernel boot. */
export function readBoot(domain: XmlElement, note: Note): VMOptions {
  // Features that PC machines of QEMU always have.
  for (const feature of ['acpi', 'apic', 'pae']) domain.child(`features/${feature}`)
  const os = domain.child('os')
  if (os === undefined) return {}
  const type = os.child('type')
  const arch = readArch(type?.attribute('arch'))
  const [kernel, initrd, append] = ['kernel', 'initrd', 'cmdline'].map(
    (name) => os.child(name)?.text || undefined,
  )
  const isMenu = os.child('bootmenu')?.attribute('enable') === 'yes'
  return {
    arch: arch === hostArch() ? undefined : arch,
    machine: type?.attribute('machine'),
    ...readFirmware(os, note),
    kernel,
    initrd,
    append,
    // Direct kernel boot has no boot menu.
    bootMenu: isMenu && kernel === undefined ? true : undefined,
  } as VMOptions
}

function readFirmware(os: XmlElement, note: Note): VMOptions {
  const loader = os.child('loader')
  const path = loader?.text ?? ''
  const isFlash = loader?.attribute('type') === 'pflash'
  const features = os.child('firmware')?.children('feature') ?? []
  const isOn = (name: string) =>
    features.some((feature) => feature.attribute('name') === name && feature.attribute('enabled') === 'yes')
  loader?.attribute('readonly')
  if (os.attribute('firmware') !== 'efi' && !isFlash) {
    if (path !== '') note(`<loader>${path}</loader>`, 'os/loader', 'the BIOS of QEMU is used')
    return {}
  }
  const secureBoot = loader?.attribute('secure') === 'yes' || (isOn('secure-boot') && isOn('enrolled-keys'))
  if (path !== '')
    note(
      `<loader>${path}</loader>`,
      'os/loader',
      'the firmware is selected through the firmware descriptors of this host',
    )
  const vars = readVariables(os.child('nvram'), note)
  if (!secureBoot && vars === undefined) return { firmware: 'uefi' }
  return {
    firmware: {
      type: 'uefi',
      ...(secureBoot ? { secureBoot } : {}),
      ...(vars === undefined ? {} : { vars }),
    },
  }
}

/** Returns the variable store of the domain if its file exists. */
function readVariables(nvram: XmlElement | undefined, note: Note): string | undefined {
  const path = nvram?.text
  if (path === undefined || path === '') return undefined
  if (existsSync(path)) return path
  note(`<nvram>${path}</nvram>`, 'os/nvram', 'the file does not exist: each guest starts with new variables')
  return undefined
}

/** Reads the clock. */
export function readClock(domain: XmlElement, note: Note): VMOptions {
  const clock = domain.child('clock')
  const offset = clock?.attribute('offset')
  if (offset === 'localtime') return { rtc: { base: 'localtime' } }
  if (offset !== undefined && offset !== 'utc') {
    note(`<clock offset="${offset}">`, 'clock@offset', 'the clock is in UTC; change it with `rtc`')
  }
  return {}
}

function readArch(name: string | undefined): GuestArch | undefined {
  if (name === undefined) return undefined
  const arch = LIBVIRT_NAMES[name] ?? name
  if (Object.hasOwn(ARCHITECTURES, arch)) return arch as GuestArch
  const known = [...Object.keys(ARCHITECTURES), ...Object.keys(LIBVIRT_NAMES)]
  throw vmError('MACHINE_UNSUPPORTED', {
    summary: `The architecture ${name} of the libvirt domain is not supported.`,
    expected: known.join(', '),
    got: name,
    hint: 'Specify a domain of a supported architecture.',
  })
}
