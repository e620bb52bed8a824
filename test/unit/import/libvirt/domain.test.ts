import { expect, test } from 'vitest'
import { importDomain } from '../../../../src/import/libvirt/domain.js'
import { formatAsTest } from '../../../../src/import/libvirt/format-options.js'
import { findOptionProblems } from '../../../../src/spec/validate-options.js'

const domain = (inner: string, attributes = 'type="kvm"') =>
  importDomain(
    `<domain ${attributes}><name>web</name>${inner}<devices><interface type="user"/></devices></domain>`,
  )
const devices = (inner: string) =>
  importDomain(`<domain type="kvm"><os><type>hvm</type></os><devices>${inner}</devices></domain>`)

test.each([
  ['<memory>262144</memory>', { memory: '256M' }],
  ['<memory unit="GiB">2</memory>', { memory: '2G' }],
  ['<memory unit="b">67108865</memory>', { memory: '65537K' }],
  [
    '<memory unit="M">512</memory><maxMemory unit="M" slots="4">1024</maxMemory>',
    { memory: { size: '512M', max: '1G', slots: 4 } },
  ],
  ['<vcpu>4</vcpu>', { cpus: 4 }],
  ['<vcpu current="2">4</vcpu>', { cpus: { count: 2, maxcpus: 4 } }],
  [
    '<vcpu>4</vcpu><cpu><topology sockets="1" dies="1" cores="2" threads="2"/></cpu>',
    { cpus: { count: 4, sockets: 1, cores: 2, threads: 2 } },
  ],
  [
    '<cpu match="exact"><model fallback="forbid">Nehalem</model><feature policy="require" name="aes"/><feature policy="disable" name="vmx"/></cpu>',
    { cpu: 'Nehalem,+aes,-vmx' },
  ],
  ['<cpu mode="host-passthrough"/>', {}],
  [
    '<vcpu>4</vcpu><cpu><numa><cell id="1" cpus="2" memory="1" unit="GiB"/><cell id="0" cpus="0-3,^2" memory="524288"/></numa></cpu>',
    {
      numa: [
        { memory: '512M', cpus: [0, 1, 3] },
        { memory: '1G', cpus: [2] },
      ],
    },
  ],
  ['<os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os>', { machine: 'pc-q35-7.2' }],
  ['<os><type arch="ppc64le" machine="pseries">hvm</type></os>', { arch: 'ppc64', machine: 'pseries' }],
  ['<os><type arch="i686">hvm</type></os>', { arch: 'i386' }],
  [
    '<os><loader readonly="yes" type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader></os>',
    { firmware: 'uefi' },
  ],
  ['<os firmware="efi"><loader secure="yes"/></os>', { firmware: { type: 'uefi', secureBoot: true } }],
  [
    '<os><kernel>/k</kernel><initrd>/i</initrd><cmdline>quiet splash</cmdline></os>',
    { kernel: '/k', initrd: '/i', append: 'quiet splash' },
  ],
  ['<clock offset="localtime"/>', { rtc: { base: 'localtime' } }],
])('the domain settings %s are imported as %j', (inner, expected) => {
  const { options } = domain(inner)
  expect(options).toMatchObject({ name: 'web', ...expected })
  expect(findOptionProblems(options)).toEqual([])
})

test.each([
  ['0-99999999999', ['numa[0].cpus']],
  ['^0-99999999999', []],
  ['0-2,^1-99999999999', []],
])('a range of CPUs such as %s is not counted to its end', (cpus, problems) => {
  const { options } = domain(`<cpu><numa><cell cpus="${cpus}" memory="131072"/></numa></cpu>`)
  expect(findOptionProblems(options).map(({ path }) => path)).toEqual(problems)
})

test('a domain of the type qemu is imported with TCG', () => {
  expect(domain('', 'type="qemu"').options.accel).toBe('tcg')
})

test('the disk that the domain boots from is the system disk, in any position', () => {
  const { options } = devices(`
    <disk type="block" device="disk"><driver name="qemu" type="raw" cache="none" discard="ignore"/><source dev="/dev/vg/data"/><target dev="sda" bus="scsi"/><serial>D1</serial></disk>
    <disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/root.qcow2"/><target dev="vda" bus="virtio"/><boot order="1"/></disk>
    <disk type="file" device="cdrom"><target dev="hdc" bus="ide"/><readonly/></disk>`)
  expect(options).toMatchObject({
    image: { path: '/root.qcow2', format: 'qcow2' },
    systemDisk: { bootIndex: 1 },
    disks: [
      {
        image: '/dev/vg/data',
        format: 'raw',
        interface: 'scsi',
        serial: 'D1',
        cache: 'none',
        discard: 'ignore',
      },
      { media: 'cdrom', interface: 'ide', index: 2 },
    ],
  })
})

test('a network disk is not imported and reported', () => {
  const { options, skippedSettings } = devices(
    '<disk type="network" device="disk"><source protocol="rbd" name="pool/image"/><target dev="vda" bus="virtio"/></disk>',
  )
  expect(options.image).toBe(false)
  expect(skippedSettings).toContainEqual({
    what: '<disk type="network" device="disk"> (vda)',
    path: 'devices/disk',
    reason: 'its content is not a file of this host: download it and add it with `disks`',
  })
})

test('unknown elements and attributes are reported', () => {
  const { skippedSettings } = importDomain(
    '<domain type="xen"><novelty colour="red"/><vcpu cpuset="0-3">2</vcpu><features><hyperv><relaxed state="on"/></hyperv></features><devices><hostdev mode="subsystem"/><interface type="bridge"><source bridge="br0"/><model type="virtio" extra="1"/></interface></devices></domain>',
  )
  expect(
    skippedSettings.map(({ path, what, reason }) => `${path}: ${what}: ${reason}`),
  ).toMatchInlineSnapshot(`
    [
      "@type: <domain type="xen">: QEMU runs the guest",
      "devices/interface: <interface type="bridge"> (br0): a separate user-mode network replaces it, without external access unless \`internet\` is true",
      "novelty: <novelty colour="red">: not supported by withvm",
      "vcpu@cpuset: cpuset="0-3": resources of the host are not imported",
      "features/hyperv/relaxed: <relaxed state="on">: the default of QEMU applies; change it with \`cpu\` or \`machine\`",
      "devices/hostdev: <hostdev mode="subsystem">: a host device supports only one guest; add it with \`qemuArgs\` if only one test uses it",
      "devices/interface/model@extra: extra="1": not supported by withvm",
    ]
  `)
})

test('text of a domain cannot leave the comments of the formatted test', () => {
  const title = '<title>A\nprocess.exit()&#x9b;</title><description x="1&#10;process.exit()"/>'
  const lines = formatAsTest(domain(title)).split('\n')
  expect(lines.filter((line) => line.includes('process.exit'))).toEqual([
    expect.stringMatching(/^\/\/ - title: <title>A process\.exit\(\)\\u009b<\/title>: /),
    expect.stringMatching(/^\/\/ - description: <description x="1 process\.exit\(\)">/),
  ])
})

test('`formatAsTest()` formats a domain as a test', () => {
  expect(formatAsTest(domain("<os><cmdline>it's</cmdline></os><title>A</title>"))).toMatchInlineSnapshot(`
    "import { withVM } from 'withvm'

    // Not imported:
    // - title: <title>A</title>: it identifies a libvirt domain; test guests are temporary

    await withVM(
      {
        name: 'web',
        append: 'it\\'s',
        image: false,
        network: { model: 'rtl8139' },
      },
      async (vm) => {
        console.log((await vm.ssh\`uname -a\`).stdout)
      },
    )
    "
  `)
})

test.each([
  ['<network/>', /The option `libvirtXML` does not contain a libvirt domain\.\n.*\n {2}Got: {6}<network>/],
  ['<domain', /The option `libvirtXML` does not contain a libvirt domain\./],
  ['no XML at all', /The option `libvirtXML` does not contain a libvirt domain\./],
  [
    '<domain><os><type arch="alpha">hvm</type></os></domain>',
    /The architecture alpha of the libvirt domain is not supported\./,
  ],
])('the XML %s is rejected', (text, message) => {
  expect(() => importDomain(text)).toThrow(message)
})

test('a domain cannot include host files through XML entities', () => {
  const text =
    '<!DOCTYPE d [<!ENTITY secret SYSTEM "file:///etc/passwd">]><domain><name>a&secret;</name></domain>'
  const outcome = (() => {
    try {
      return JSON.stringify(importDomain(text))
    } catch (error) {
      return String(error)
    }
  })()
  expect(outcome).not.toContain('root:')
})
