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

test("`arch` accepts the names of QEMU and Debian, and defaults to the host's architecture", () => {
  expect(resolveArch(undefined)).toBe(hostArch())
  expect(Object.keys(DEBIAN_NAMES).map(resolveArch)).toEqual(['x86_64', 'aarch64', 'arm', 'ppc64'])
  expect(problems({ arch: 'armhf' })).toEqual([])
  expect(problems({ arch: 'arm64v8' as 'arm64' })).toEqual([
    "arch: got \"arm64v8\"; expected one of 'x86_64', 'i386', 'aarch64', 'arm', 'riscv64', 'ppc64', 's390x', 'sparc', 'sparc64', 'ppc', or of Debian's names 'amd64', 'arm64', 'armhf', 'ppc64el'",
  ])
})

test('a host runs guests of its own architecture natively, and x86_64 also i386', () => {
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
] as const)('the default machine for %s is %s with %s, %s disks and %s firmware', (arch, ...expected) => {
  const { machine, network, systemDisk, firmware } = resolveSpec({ arch, image: false }, undefined)
  expect([machine, network.model, systemDisk.interface, firmware.type]).toEqual(expected)
})

test('a board without firmware needs no UEFI if QEMU loads a kernel or other firmware is given', () => {
  expect(resolveSpec({ arch: 'aarch64', kernel: 'Image' }, undefined).firmware.type).toBe('bios')
  const file = 'u-boot.bin'
  const firmwareOptions: VMOptions[] = [
    { firmware: { type: 'bios', file } },
    { qemuArgs: ['-bios', file] },
    { qemuArgs: ['-drive', 'file=flash.img,if=pflash,unit=0'] },
    { disks: [{ interface: 'pflash', image: file }] },
    { disks: [{ interface: 'pflash', image: file }], firmware: 'bios' },
  ]
  for (const options of firmwareOptions) {
    expect(findOptionProblems({ arch: 'aarch64', image: false, ...options })).toEqual([])
    expect(resolveSpec({ arch: 'aarch64', image: false, ...options }, undefined).firmware.type).toBe('bios')
  }
})

const foreign = hostArch() === 'aarch64' ? 'x86_64' : 'aarch64'
test.each<[VMOptions, string]>([
  [{ arch: foreign, accel: 'kvm' }, `accel: got 'kvm' on ${foreign}; expected 'auto' or 'tcg'`],
  [{ arch: 's390x', firmware: 'uefi' }, "firmware: got 'uefi' on s390x"],
  [
    { arch: 'arm64', firmware: 'bios' },
    "firmware: got 'bios' on aarch64; expected 'uefi', a `kernel`, or `{ type: 'bios', file }` (the board has no firmware)",
  ],
  [
    { arch: 'aarch64', boot: 'n' },
    'boot: got the architecture aarch64; expected a guest whose firmware reads it; otherwise use `bootIndex` of a disk or card',
  ],
  [
    { arch: 'ppc64', tpm: true },
    'tpm: got the architecture ppc64; expected a PC guest (x86); otherwise use `devices` or `qemuArgs`',
  ],
  [{ arch: 'riscv64', vnc: true }, 'vnc: got the architecture riscv64'],
  [{ arch: 'sparc', rng: true }, 'rng: got the architecture sparc; expected a guest with virtio'],
  [{ arch: 's390x', usb: true }, 'usb: got the architecture s390x; expected a guest with PCI'],
  [
    { arch: 'aarch64', hda: 'disk.img' },
    "hda: got 'ide' on aarch64; expected one of 'virtio', 'scsi', 'sata'",
  ],
  [{ arch: 'arm', fda: 'disk.img' }, "fda: got 'floppy' on arm"],
  [
    { arch: 's390x', disks: [{ size: '1G', interface: 'nvme' }] },
    "disks[0].interface: got 'nvme' on s390x; expected one of 'virtio', 'scsi' (interfaces of the machine 's390-ccw-virtio')",
  ],
  [{ arch: 'ppc64', ports: [{ name: 'a', type: 'serial' }] }, "ports[0].type: got 'serial' on ppc64"],
  [{ arch: 'sparc64', ports: [{ name: 'a' }] }, "ports[0].type: got 'virtio' on sparc64; expected no ports"],
  [{ arch: 'sparc', network: [{}, {}] }, 'network: got 2 cards on sparc; expected one card'],
  [{ arch: 'sparc', network: { model: 'e1000' } }, 'network.model: got "e1000" on sparc; expected \'lance\''],
  [
    { arch: 's390x', smbios: { serial: '7', uuid: '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162' } },
    'smbios: got serial on s390x; expected only `uuid`',
  ],
  [{ arch: 'aarch64', cpus: { count: 1, maxcpus: 2 } }, 'cpus.maxcpus: got hot-plug CPUs on aarch64'],
  [{ arch: 'aarch64', memory: { size: '1G', max: '2G' } }, 'memory.max: got hot-plug memory on aarch64'],
])('options that the architecture does not support are rejected: %j', (options, message) => {
  expect(problems(options).join('\n')).toContain(message)
})

test('an option that disables a feature is accepted on every architecture', () => {
  for (const arch of Object.keys(ARCHITECTURES) as GuestArch[])
    expect(
      problems({ arch, vga: 'none', display: 'none', vnc: false, tpm: false, usb: false, cloudInit: false }),
    ).toEqual([])
})
