import { existsSync } from 'node:fs'
import { vmError } from '../../errors.js'
import { ARCHITECTURES, type GuestArch, hostArch } from '../../spec/architectures.js'
import type { VMOptions } from '../../spec/options.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

/** What libvirt calls architectures by names of its own (virArch); the rest it calls as QEMU does. */
const LIBVIRT_NAMES: Readonly<Record<string, GuestArch>> = { i686: 'i386', armv7l: 'arm', ppc64le: 'ppc64' }

/** Machine, firmware, and a kernel that QEMU loads. */
export function readBoot(domain: XmlElement, note: Note): VMOptions {
  // What QEMU's PCs have in any case.
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
    // A kernel that QEMU loads leaves nothing to choose.
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
    if (path !== '') note(`<loader>${path}</loader>`, 'os/loader', "QEMU's own BIOS is used")
    return {}
  }
  const secureBoot = loader?.attribute('secure') === 'yes' || (isOn('secure-boot') && isOn('enrolled-keys'))
  if (path !== '')
    note(`<loader>${path}</loader>`, 'os/loader', 'the firmware is found by the descriptors of this host')
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

/** Its variables are those of the domain, once it has run. */
function readVariables(nvram: XmlElement | undefined, note: Note): string | undefined {
  const path = nvram?.text
  if (path === undefined || path === '') return undefined
  if (existsSync(path)) return path
  note(
    `<nvram>${path}</nvram>`,
    'os/nvram',
    'the file is not there: each guest begins with variables of its own',
  )
  return undefined
}

/** What the clock says. */
export function readClock(domain: XmlElement, note: Note): VMOptions {
  const clock = domain.child('clock')
  const offset = clock?.attribute('offset')
  if (offset === 'localtime') return { rtc: { base: 'localtime' } }
  if (offset !== undefined && offset !== 'utc') {
    note(`<clock offset="${offset}">`, 'clock@offset', 'the clock is in UTC: `rtc` says otherwise')
  }
  return {}
}

function readArch(name: string | undefined): GuestArch | undefined {
  if (name === undefined) return undefined
  const arch = LIBVIRT_NAMES[name] ?? name
  if (Object.hasOwn(ARCHITECTURES, arch)) return arch as GuestArch
  const known = [...Object.keys(ARCHITECTURES), ...Object.keys(LIBVIRT_NAMES)]
  throw vmError('MACHINE_UNSUPPORTED', {
    summary: `The domain is for ${name}.`,
    expected: known.join(', '),
    got: name,
    hint: 'give a domain of one of these architectures.',
  })
}
