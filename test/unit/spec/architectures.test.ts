import { expect, test } from 'vitest'
import {
  ARCHITECTURES,
  DEBIAN_NAMES,
  type GuestArch,
  hostArch,
  isNative,
  resolveArch,
} from '../../../src/spec/architectures.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { findOptionProblems } from '../../../src/spec/validate-options.js'

const problems = (options: VMOptions) =>
  findOptionProblems(options).map(({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`)

test('an architecture goes by the name of QEMU, or of Debian; without one it is that of the host', () => {
  expect(resolveArch(undefined)).toBe(hostArch())
  expect(Object.keys(DEBIAN_NAMES).map(resolveArch)).toEqual(['x86_64', 'aarch64', 'arm', 'ppc64'])
  expect(problems({ arch: 'armhf' })).toEqual([])
  expect(problems({ arch: 'arm64v8' as 'arm64' })).toEqual([
    "arch: got \"arm64v8\"; expected one of 'x86_64', 'i386', 'aarch64', 'arm', 'riscv64', 'ppc64', 's390x', 'sparc', 'sparc64', 'ppc', or Debian's 'amd64', 'arm64', 'armhf', 'ppc64el'",
  ])
})

test('what a host runs by itself is its own architecture, and a PC older PCs', () => {
  expect(hostArch('x64')).toBe('x86_64')
  expect(hostArch('arm64')).toBe('aarch64')
  expect(hostArch('mips' as NodeJS.Architecture)).toBe('x86_64')
  expect(isNative('i386', 'x86_64')).toBe(true)
  expect(isNative('x86_64', 'i386')).toBe(false)
  expect(isNative('arm', 'aarch64')).toBe(false)
})

test.each([
  ['x86_64', 'pc', 'virtio-net-pci', 'virtio', 'bios'],
  ['i386', 'pc', 'virtio-net-pci', 'virtio', 'bios'],
  ['aarch64', 'virt', 'virtio-net-pci', 'virtio', 'uefi'],
  ['arm', 'virt', 'virtio-net-pci', 'virtio', 'uefi'],
  ['riscv64', 'virt', 'virtio-net-pci', 'virtio', 'bios'],
  ['ppc64', 'pseries', 'virtio-net-pci', 'virtio', 'bios'],
  ['s390x', 's390-ccw-virtio', 'virtio-net-ccw', 'virtio', 'bios'],
  ['sparc', 'SS-20', 'lance', 'scsi', 'bios'],
  ['sparc64', 'sun4u', 'sunhme', 'ide', 'bios'],
  ['ppc', 'mac99', 'sungem', 'ide', 'bios'],
] as const)('a machine for %s is a %s with %s, its disk at %s, and boots by %s', (arch, ...expected) => {
  const { machine, network, systemDisk, firmware } = resolveSpec({ arch, image: false }, undefined)
  expect([machine, network.model, systemDisk.interface, firmware.type]).toEqual(expected)
})

test('a board without firmware needs none where QEMU loads the kernel', () => {
  expect(resolveSpec({ arch: 'aarch64', kernel: 'Image' }, undefined).firmware.type).toBe('bios')
  const file = 'u-boot.bin'
  const brought: VMOptions[] = [
    { firmware: { type: 'bios', file } },
    { qemuArgs: ['-bios', file] },
    { qemuArgs: ['-drive', 'file=flash.img,if=pflash,unit=0'] },
    { disks: [{ interface: 'pflash', image: file }] },
    { disks: [{ interface: 'pflash', image: file }], firmware: 'bios' },
  ]
  for (const options of brought) {
    expect(findOptionProblems({ arch: 'aarch64', image: false, ...options })).toEqual([])
    expect(resolveSpec({ arch: 'aarch64', image: false, ...options }, undefined).firmware.type).toBe('bios')
  }
})

const foreign = hostArch() === 'aarch64' ? 'x86_64' : 'aarch64'
test.each<[VMOptions, string]>([
  [{ arch: foreign, accel: 'kvm' }, `accel: got 'kvm' for ${foreign} guests; expected 'auto' or 'tcg'`],
  [{ arch: 's390x', firmware: 'uefi' }, "firmware: got 'uefi' for s390x guests"],
  [
    { arch: 'arm64', firmware: 'bios' },
    "firmware: got 'bios' for aarch64 guests; expected 'uefi', a `kernel`, or `{ type: 'bios', file }`: the board has no firmware",
  ],
  [{ arch: 'aarch64', boot: 'n' }, 'boot: got it for aarch64 guests'],
  [{ arch: 'ppc64', tpm: true }, 'tpm: got it for ppc64 guests, and PCs alone have it'],
  [{ arch: 'riscv64', vnc: true }, 'vnc: got it for riscv64 guests'],
  [{ arch: 'sparc', rng: true }, 'rng: got it for sparc guests, and machines with virtio have it'],
  [{ arch: 's390x', usb: true }, 'usb: got it for s390x guests, and machines with PCI have it'],
  [
    { arch: 'aarch64', hda: 'disk.img' },
    "hda: got 'ide' for aarch64 guests; expected what a machine 'virt' has",
  ],
  [{ arch: 'arm', fda: 'disk.img' }, "fda: got 'floppy' for arm guests"],
  [
    { arch: 's390x', disks: [{ size: '1G', interface: 'nvme' }] },
    "disks[0].interface: got 'nvme' for s390x guests; expected what a machine 's390-ccw-virtio' has: 'virtio', 'scsi'",
  ],
  [{ arch: 'ppc64', ports: [{ name: 'a', type: 'serial' }] }, "ports[0].type: got 'serial' for ppc64 guests"],
  [
    { arch: 'sparc64', ports: [{ name: 'a' }] },
    "ports[0].type: got 'virtio' for sparc64 guests; expected none",
  ],
  [{ arch: 'sparc', network: [{}, {}] }, 'network: got 2 cards for sparc guests; expected one'],
  [
    { arch: 'sparc', network: { model: 'e1000' } },
    'network.model: got "e1000" for sparc guests; expected \'lance\'',
  ],
  [
    { arch: 's390x', smbios: { serial: '7', uuid: '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162' } },
    'smbios: got serial for s390x guests; expected `uuid` alone',
  ],
  [{ arch: 'aarch64', cpus: { count: 1, maxcpus: 2 } }, 'cpus.maxcpus: got processors to plug in'],
  [{ arch: 'aarch64', memory: { size: '1G', max: '2G' } }, 'memory.max: got memory to plug in'],
])('%j is refused', (options, message) => {
  expect(problems(options).join('\n')).toContain(message)
})

test('what an option turns off is refused nowhere', () => {
  for (const arch of Object.keys(ARCHITECTURES) as GuestArch[])
    expect(
      problems({ arch, vga: 'none', display: 'none', vnc: false, tpm: false, usb: false, cloudInit: false }),
    ).toEqual([])
})
