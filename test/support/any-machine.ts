import fc from 'fast-check'
import type { VMOptions } from 'withvm'
import { findOptionProblems } from '../../src/spec/validate-options.js'

/** Strings that could become more than a value on a command line. */
const HOSTILE = [
  ',',
  ',,',
  '\n',
  '-',
  '--',
  '=',
  ' ',
  "'",
  '"',
  '\\',
  '$',
  '`',
  ';',
  ',file=/etc/passwd',
  ',id=x',
  '\n-monitor stdio',
]

/** Arbitrary strings that often contain special characters of command lines. */
export const hostileText = fc
  .array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 5 })), { maxLength: 6 })
  .map((parts) => parts.join('').replaceAll('\0', ''))

/** Files for the options. Files that QEMU opens must exist. */
export interface MachineFiles {
  readonly raw: string
  readonly qcow2: string
  readonly folder: string
  readonly kernel: string
}

const few = <T>(one: fc.Arbitrary<T>, maxLength = 3) => fc.array(one, { minLength: 1, maxLength })
const maybe = { requiredKeys: [] }

const connection = {
  interface: fc.constantFrom(
    'virtio',
    'scsi',
    'ide',
    'sata',
    'usb',
    'nvme',
    'sd',
    'floppy',
  ) as fc.Arbitrary<'virtio'>,
  serial: fc.oneof(fc.constantFrom('S,1', '-S', 'a=b'), hostileText),
  bootIndex: fc.integer({ min: 1, max: 9 }),
  cache: fc.constantFrom('none', 'writeback', 'writethrough', 'directsync', 'unsafe') as fc.Arbitrary<'none'>,
  discard: fc.constantFrom('unmap', 'ignore') as fc.Arbitrary<'unmap'>,
}

const ipv4 = fc.tuple(fc.integer({ min: 1, max: 223 }), fc.nat(255)).map(([a, b]) => `${a}.${b}.7`)

const card = (files: MachineFiles) =>
  fc.record(
    {
      internet: fc.boolean(),
      model: fc.constantFrom('virtio-net-pci', 'e1000', 'rtl8139', 'pcnet', 'ne2k_pci', 'i82559er'),
      mac: fc
        .nat(0xffff)
        .map((n) => `52:54:01:02:${[n >> 8, n & 255].map((b) => b.toString(16).padStart(2, '0')).join(':')}`),
      bootIndex: fc.integer({ min: 10, max: 19 }),
      tftp: fc.constant(files.folder),
      bootfile: hostileText,
      net: ipv4.map((net) => `${net}.0/24`),
      hostname: fc.oneof(fc.constant('web-1'), hostileText),
      domainname: fc.constant('example.org'),
      ipv6: fc.boolean(),
    },
    maybe,
  )

/** Arbitrary valid options of a machine. */
export function anyMachine(files: MachineFiles): fc.Arbitrary<VMOptions> {
  const image = fc.constantFrom(
    { path: files.raw, format: 'raw' as const },
    { path: files.qcow2, format: 'qcow2' as const },
  )
  const disk = fc.oneof(
    fc.record({ image, ...connection, readonly: fc.boolean() }, { requiredKeys: ['image'] }),
    fc.record({ size: fc.constantFrom('1M', '64M', '1G'), ...connection }, { requiredKeys: ['size'] }),
    fc.record(
      { media: fc.constant('cdrom' as const), interface: fc.constantFrom('ide', 'sata', 'scsi') },
      { requiredKeys: ['media'] },
    ),
  ) as fc.Arbitrary<NonNullable<VMOptions['disks']>[number]>
  const options = fc.record(
    {
      name: fc.oneof(fc.constant('a.b-c_d'), hostileText),
      machine: fc.constantFrom('pc', 'q35', 'pc-i440fx-5.2', 'pc-q35-6.0'),
      cpu: fc.constantFrom('max', 'qemu64', 'qemu64,+rdrand', 'Nehalem'),
      cpus: fc.oneof(
        fc.integer({ min: 1, max: 8 }),
        fc.record(
          {
            sockets: fc.integer({ min: 1, max: 2 }),
            cores: fc.integer({ min: 1, max: 3 }),
            threads: fc.constantFrom(1, 2),
            maxcpus: fc.integer({ min: 1, max: 12 }),
          },
          maybe,
        ),
      ),
      memory: fc.oneof(fc.integer({ min: 64, max: 512 }), fc.constant({ size: '128M', max: '1G', slots: 3 })),
      numa: fc.constant([
        { memory: '64M', cpus: [0], hostNodes: [0], policy: 'preferred' as const },
        { memory: '64M' },
      ]),
      smbios: fc.record({ serial: hostileText, product: hostileText, uuid: fc.uuid({ version: 4 }) }, maybe),
      rtc: fc.record(
        {
          base: fc.constantFrom('utc', 'localtime', '2030-01-31T12:00:00'),
          clock: fc.constantFrom('host', 'rt', 'vm') as fc.Arbitrary<'vm'>,
        },
        maybe,
      ),
      kernel: fc.constant(files.kernel),
      append: fc.oneof(hostileText, few(hostileText)),
      boot: fc.constantFrom('c', 'n', 'cdn'),
      bootOnce: fc.constantFrom('d', 'n'),
      bootMenu: fc.boolean(),
      image: fc.oneof(fc.constant(false as const), image),
      systemDisk: fc.record(connection, maybe),
      disks: few(disk),
      network: fc.oneof(card(files), few(card(files))),
      vga: fc.constantFrom('none', 'std', 'cirrus', 'vmware', 'virtio') as fc.Arbitrary<'std'>,
      sound: fc.constantFrom('ac97', 'es1370', 'ich6', 'ich9') as fc.Arbitrary<'ac97'>,
      usb: fc.boolean(),
      rng: fc.boolean(),
      balloon: fc.boolean(),
      watchdog: fc.oneof(
        fc.boolean(),
        fc.record(
          { model: fc.constantFrom('i6300esb', 'ib700'), action: fc.constantFrom('reset', 'pause', 'none') },
          maybe,
        ),
      ) as fc.Arbitrary<boolean>,
      devices: few(
        fc.record(
          {
            driver: fc.constantFrom('virtio-mouse-pci', 'virtio-keyboard-pci', 'virtio-tablet-pci'),
            id: fc.integer({ min: 0, max: 10_000 }).map((n) => `own${n}`),
          },
          { requiredKeys: ['driver'] },
        ),
      ),
    },
    maybe,
  )
  return options.map((made): VMOptions => ({ image: false, ssh: false, ...made })).map(withoutInvalid)
}

/** Removes options that the validation rejects, so that few generated values are discarded. */
function withoutInvalid(made: VMOptions): VMOptions {
  const options: Record<string, unknown> = { ...made }
  for (;;) {
    const [problem] = findOptionProblems(options)
    if (problem === undefined) return options as VMOptions
    const name = /^\w+/.exec(problem.path)?.[0] ?? ''
    if (!(name in options))
      throw new Error(`${problem.path}: ${problem.expected}, but there is no such option to leave out`)
    delete options[name]
  }
}
