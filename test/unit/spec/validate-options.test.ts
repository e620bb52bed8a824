import { expect, test } from 'vitest'
import type { VMOptions } from '../../../src/spec/options.js'
import { findOptionProblems, optionError } from '../../../src/spec/validate-options.js'

const problems = (options: unknown) =>
  findOptionProblems(options).map(({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`)

test('no options at all are valid', () => {
  expect(problems({})).toEqual([])
})

test('every kind of option at once is valid', () => {
  const options = {
    image: { path: 'a.qcow2', format: 'qcow2' },
    name: 'web-1',
    accel: 'tcg',
    machine: 'q35',
    cpu: 'qemu64,+rdrand',
    cpus: 2,
    memory: '512M',
    kernel: 'vmlinuz',
    initrd: 'initrd',
    append: ['console=ttyS0'],
    boot: 'n',
    network: { internet: true, model: 'e1000', mac: '52:54:00:12:34:56', tftp: '.', bootfile: 'pxelinux.0' },
    hostfwd: [{ guest: 80, host: 8080, protocol: 'tcp', bind: '0.0.0.0' }],
    ssh: { user: 'debian', password: 'secret', port: 2222, hostPort: 2200 },
    ready: /login:/,
    timeouts: { start: '2m', body: 5000, command: '500ms', shutdown: '1h' },
    limits: { disk: '2G', console: 64 },
    signal: new AbortController().signal,
    tmpdir: '/tmp',
    artifacts: 'logs',
    memoryDump: true,
    keepOnFailure: '30m',
    runAs: 'nobody',
    qemuArgs: ['-d', 'int'],
    log: () => {},
  }
  expect(problems(options)).toEqual([])
})

test('all problems come in one error, each with its path, the value and what was expected', () => {
  const error = optionError(
    findOptionProblems({
      memroy: '1G',
      memory: '12x',
      cpus: 0,
      hostfwd: [{ guest: 70_000 }, { host: 1 }],
      timeouts: { boot: '1s' },
    }),
  )
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toMatchInlineSnapshot(`
    "withVM(): 6 options are wrong, nothing was booted.
      - cpus: expected a whole number, 1 to 255, got 0
      - memory: expected an amount of memory such as '512M', '2G', or a number of MiB above 0, got "12x"
      - hostfwd[0].guest: expected a port, 1 to 65535, got 70000
      - hostfwd[1].guest: expected a port, 1 to 65535, got nothing
      - timeouts.boot: expected one of start, body, command, shutdown, got an option that does not exist
      - memroy: expected 'memory', got an option that does not exist
    Fix: change what is listed above. docs/options.md has every option."
  `)
})

test.each([
  [0, '0'],
  [-1, '-1'],
  ['12x', '"12x"'],
  [Number.NaN, 'NaN'],
  ['', '""'],
  [[], '[]'],
])('memory %j is refused', (memory, got) => {
  expect(problems({ memory })).toEqual([
    `memory: got ${got}; expected an amount of memory such as '512M', '2G', or a number of MiB above 0`,
  ])
})

test('more memory than the host has is refused', () => {
  expect(problems({ memory: '900T' })[0]).toMatch(
    /^memory: got "900T"; expected no more than this host has, \d/,
  )
})

test('options that exclude or need one another are refused', () => {
  expect(
    problems({ initrd: 'initrd', ready: 'ssh', ssh: false, network: { bootfile: 'x' } }),
  ).toMatchInlineSnapshot(`
    [
      "initrd: got "initrd"; expected 'kernel' beside it: an initrd is loaded with a kernel",
      "ready: got 'ssh' together with ssh: false; expected 'agent', 'none', a RegExp or a function",
      "network.bootfile: got "x"; expected 'network.tftp' beside it: the folder with that file",
    ]
  `)
})

test('two forwards of one host port are refused', () => {
  const hostfwd = [
    { guest: 80, host: 8080 },
    { guest: 81, host: 8080 },
    { guest: 82, host: 2200 },
    { guest: 53, host: 8080, protocol: 'udp' },
  ]
  expect(problems({ hostfwd, ssh: { hostPort: 2200 }, network: { internet: true } })).toEqual([
    'hostfwd[1].host: got 8080; expected another port than that of hostfwd[0].host',
    'hostfwd[2].host: got 2200; expected another port than that of ssh.hostPort',
  ])
})

test('a UDP port in a closed network is refused, since no answer would come', () => {
  const hostfwd = [{ guest: 80 }, { guest: 53, protocol: 'udp' }]
  expect(problems({ hostfwd })).toEqual([
    "hostfwd[1].protocol: got 'udp' in a closed network; expected 'tcp', or network: { internet: true } beside it: QEMU drops what a guest in a closed network answers by UDP",
  ])
})

test('a wrong image or login is told apart from an unknown name in it', () => {
  expect(problems({ image: 5, ssh: { pasword: 'x' } })).toMatchInlineSnapshot(`
    [
      "image: got 5; expected a recipe's name, a path, { path, format }, or for a URL { url, sha256 }",
      "ssh.pasword: got an option that does not exist; expected 'password'",
    ]
  `)
  expect(problems({ image: { path: 'x', format: 'qcow3' }, ssh: true })).toMatchInlineSnapshot(`
    [
      "image.format: got "qcow3"; expected 'raw' or 'qcow2' or 'vmdk' or 'vdi' or 'vhdx' or 'vpc' or 'luks'",
      "ssh: got true; expected false or an object",
    ]
  `)
})

test('a private key does not come into a message', () => {
  const key = '-----BEGIN OPENSSH PRIVATE KEY-----'
  expect(problems({ name: key })[0]).toContain('got a private key;')
})

test('what is no object is refused as a whole', () => {
  expect(problems('tiny')).toEqual(['options: got "tiny"; expected an object'])
  expect(problems(null)).toEqual(['options: got null; expected an object'])
})

test.each([
  [{ artifacts: true }, 'artifacts: expected the path of a folder, or false, got true'],
  [{ memoryDump: 'yes' }, 'memoryDump: expected true or false, got "yes"'],
  [{ keepOnFailure: '1d' }, `keepOnFailure: expected true, false, or for how long, as '30m', got "1d"`],
  [{ keepOnFailure: Number.POSITIVE_INFINITY }, 'keepOnFailure: expected true, false, or for how long'],
])('what is kept of a failure is said clearly: %j', (options, message) => {
  expect(optionError(findOptionProblems(options)).message).toContain(message)
})

test.each([['1000'], ['1000:1000'], ['virt-user'], ['_user$'], ['2nd']])('QEMU runs as %j', (runAs) => {
  expect(findOptionProblems({ runAs })).toEqual([])
})

test.each([[''], ['a b'], ['user:group'], ['-u'], ['1:'], [1000], ['12345678901']])(
  'QEMU does not run as %j',
  (runAs) => {
    expect(optionError(findOptionProblems({ runAs })).message).toContain(
      "runAs: expected a user's name, or numbers as '1000:1000', got ",
    )
  },
)

test.each<[VMOptions, string]>([
  [
    { hda: 'a', image: 'b' },
    'hda: got a disk to boot from beside `image`; expected one of both: either is the disk that is booted from',
  ],
  [
    { cdrom: 'a', hdc: 'b' },
    'cdrom: got a CD beside `hdc`; expected one of both, as they have one place; or the CD in `disks`',
  ],
  [{ disks: [{}] }, 'disks[0]: got a disk with nothing on it; expected `image`, or `size` for a new one'],
  [
    { disks: [{ image: 'a', size: '1G' }] },
    'disks[0].size: got a size beside an image; expected one of both: an image has its size',
  ],
  [
    { disks: [{ image: 'a', media: 'cdrom', interface: 'virtio' }] },
    "disks[0].interface: got 'virtio' for a CD; expected 'ide' or 'sata' or 'scsi' or 'usb'",
  ],
  [
    { disks: [{ size: 1, interface: 'ide', index: 1 }], hdb: 'a' },
    "hdb: got place 1 at 'ide', where disks[0] is; expected another `index`",
  ],
  [
    { disks: [{ size: 1, bootIndex: 1 }], network: { bootIndex: 1 } },
    'network.bootIndex: got 1; expected another than that of disks[0]',
  ],
  [
    { disks: [{ size: 1, snapshot: false }] },
    'disks[0].snapshot: got false; expected the path of a file in `image` beside it: what the guest writes goes there',
  ],
  [
    { disks: [{ image: './a.img', snapshot: false }] },
    'disks[0].snapshot: got false; expected `format` beside it: a guest that writes to a file could make it look like another format',
  ],
  [
    { cpus: { sockets: 2, cores: 2, threads: 1, count: 3 } },
    'cpus: got count 3 for an arrangement of 4; expected a `count` of 4',
  ],
  [{ cpus: { count: 4, maxcpus: 2 } }, 'cpus.count: got 4; expected no more than `maxcpus`, 2'],
  [{ memory: { size: '1G', max: '512M' } }, 'memory.max: got 512 MiB; expected more than `size`, 1 GiB'],
  [
    { memory: { slots: 2 } },
    'memory.slots: got 2; expected `max` beside it: how much memory there may be in all',
  ],
  [
    { memory: '1G', numa: [{ memory: '512M' }] },
    'numa: got nodes of 512 MiB; expected as much as `memory`, 1 GiB',
  ],
  [
    { numa: [{ memory: '512M', cpus: [1] }] },
    'numa[0].cpus: got CPU 1; expected a CPU below 1, as many as `cpus` says',
  ],
  [
    { machine: 'pc', firmware: { type: 'uefi', secureBoot: true } },
    "machine: got 'pc' with secure boot; expected 'q35': other machines cannot keep the firmware's variables from the guest",
  ],
  [
    { tpm: { version: '1.2', model: 'crb' } },
    "tpm.model: got 'crb' of a TPM 1.2; expected 'tis': only a TPM 2.0 has that interface",
  ],
  [
    { network: [{}, { net: '10.9.0.0/24', dns: '10.0.2.3' }] },
    'network[1].dns: got "10.0.2.3"; expected an address of the network 10.9.0.0/24',
  ],
])('%j cannot be together', (options, problem) => {
  expect(problems(options)).toEqual([problem])
})

test.each<[unknown, string]>([
  [{ firmware: { type: 'bios' } }, 'firmware.file: got nothing; expected the path of a firmware file'],
  [{ firmware: { type: 'efi' } }, "firmware.type: got \"efi\"; expected 'uefi' or 'bios'"],
  [{ firmware: 'efi' }, "firmware: got \"efi\"; expected 'bios' or 'uefi'"],
  [{ tpm: 'yes' }, 'tpm: got "yes"; expected true or false'],
  [
    { disks: [{ size: '1G', interface: 'sas' }] },
    "disks[0].interface: got \"sas\"; expected 'virtio' or 'scsi' or 'ide' or 'sata' or 'usb' or 'nvme' or 'sd' or 'floppy' or 'pflash'",
  ],
  [{ disks: [{ sise: '1G' }] }, "disks[0].sise: got an option that does not exist; expected 'size'"],
  [
    { rtc: { base: 'yesterday' } },
    "rtc.base: got \"yesterday\"; expected 'utc', 'localtime', or a time such as '2030-01-31T12:00:00'",
  ],
  [
    { devices: [{ driver: 'a,b=c' }] },
    'devices[0].driver: got "a,b=c"; expected a device as QEMU names it, such as \'virtio-rng-pci\'',
  ],
  [
    { devices: [{ driver: 'a', 'b,c': 1 }] },
    'devices[0].b,c: got 1; expected a property with text, a number, true or false',
  ],
  [{ network: [] }, 'network: got []; expected at least one card'],
])('%j is refused', (options, problem) => {
  expect(problems(options)[0]).toBe(problem)
})

test('what of the display cannot be together is told', () => {
  const options = {
    vga: 'none',
    vnc: { socket: 'vnc.sock', display: 1, password: 'far too long' },
    spice: { bind: '127.0.0.1' },
  }
  expect(problems(options)).toEqual([
    'vnc.password: got "far too long"; expected a password of up to 8 characters',
  ])
  expect(problems({ ...options, vnc: { socket: 'vnc.sock', display: 1 }, grab: 'right-ctrl' })).toEqual([
    'vnc.display: got 1 beside `vnc.socket`; expected one of both',
    'spice.bind: got "127.0.0.1"; expected `spice.port` beside it: without one it is a unix socket',
    "grab: got 'right-ctrl'; expected display: 'sdl' beside it: QEMU's other windows have keys of their own",
    "vga: got 'none' beside `vnc` and `spice`; expected a card to show something of, such as 'std'",
  ])
  expect(
    problems({ vnc: true, spice: { port: 5930, password: 'ticket' }, tablet: 'usb', hotplug: true }),
  ).toEqual([])
})
