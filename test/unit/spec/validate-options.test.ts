import { expect, test } from 'vitest'
import type { VMOptions } from '../../../src/spec/options.js'
import { findOptionProblems, optionError } from '../../../src/spec/validate-options.js'

const problems = (options: unknown) =>
  findOptionProblems(options).map(({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`)

test('empty options are valid', () => {
  expect(problems({})).toEqual([])
})

test('options of every kind are valid together', () => {
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

test('one error lists all problems with path, expected and actual value', () => {
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
    "6 options are invalid; no guest was started.
      - cpus: expected a whole number, 1 to 255, got 0
      - memory: expected an amount of memory such as '512M', '2G', or a number of MiB, at least 16 MiB, got "12x"
      - hostfwd[0].guest: expected a port, 1 to 65535, got 70000
      - hostfwd[1].guest: expected a port, 1 to 65535, got nothing
      - timeouts.boot: expected one of start, body, command, shutdown, got an unknown option
      - memroy: expected 'memory', got an unknown option
    Fix: Change the options listed above. docs/options.md describes all options."
  `)
})

test.each([
  [0, '0'],
  [-1, '-1'],
  [5, '5'],
  ['15.9M', '"15.9M"'],
  ['12x', '"12x"'],
  [Number.NaN, 'NaN'],
  ['', '""'],
  [[], '[]'],
])('memory %j is rejected', (memory, got) => {
  expect(problems({ memory })).toEqual([
    `memory: got ${got}; expected an amount of memory such as '512M', '2G', or a number of MiB, at least 16 MiB`,
  ])
})

test("memory larger than the host's RAM is rejected", () => {
  expect(problems({ memory: '900T' })[0]).toMatch(/^memory: got "900T"; expected at most the host's RAM, \d/)
})

test('options that conflict or require another option are rejected', () => {
  expect(
    problems({ initrd: 'initrd', ready: 'ssh', ssh: false, network: { bootfile: 'x' } }),
  ).toMatchInlineSnapshot(`
    [
      "initrd: got "initrd"; expected \`kernel\` to be set too (an initrd is loaded with a kernel)",
      "ready: got 'ssh' together with \`ssh: false\`; expected 'agent', 'none', a RegExp or a function",
      "network.bootfile: got "x"; expected \`network.tftp\` to be set too (the folder that contains the file)",
    ]
  `)
})

test('two forwards of the same host port are rejected', () => {
  const hostfwd = [
    { guest: 80, host: 8080 },
    { guest: 81, host: 8080 },
    { guest: 82, host: 2200 },
    { guest: 53, host: 8080, protocol: 'udp' },
  ]
  expect(problems({ hostfwd, ssh: { hostPort: 2200 }, network: { internet: true } })).toEqual([
    'hostfwd[1].host: got 8080; expected a port other than that of hostfwd[0].host',
    'hostfwd[2].host: got 2200; expected a port other than that of ssh.hostPort',
  ])
})

test('a UDP forward on a restricted network is rejected, because replies are dropped', () => {
  const hostfwd = [{ guest: 80 }, { guest: 53, protocol: 'udp' }]
  expect(problems({ hostfwd })).toEqual([
    "hostfwd[1].protocol: got 'udp' on a restricted network; expected 'tcp', or `network: { internet: true }` (QEMU drops UDP replies from a restricted network)",
  ])
})

test('an invalid `image` or `ssh` and an unknown property in it are reported differently', () => {
  expect(problems({ image: 5, ssh: { pasword: 'x' } })).toMatchInlineSnapshot(`
    [
      "image: got 5; expected the name of a recipe, a path, { path, format }, or { url, sha256 }",
      "ssh.pasword: got an unknown option; expected 'password'",
    ]
  `)
  expect(problems({ image: { path: 'x', format: 'qcow3' }, ssh: true })).toMatchInlineSnapshot(`
    [
      "image.format: got "qcow3"; expected one of 'raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'luks'",
      "ssh: got true; expected false or an object",
    ]
  `)
})

test('a message never contains a private key', () => {
  const key = '-----BEGIN OPENSSH PRIVATE KEY-----'
  expect(problems({ name: key })[0]).toContain('got a private key;')
})

test('options that are not an object are rejected', () => {
  expect(problems('tiny')).toEqual(['options: got "tiny"; expected an object'])
  expect(problems(null)).toEqual(['options: got null; expected an object'])
})

test.each([
  [{ artifacts: true }, 'artifacts: expected the path of a folder, or false, got true'],
  [{ memoryDump: 'yes' }, 'memoryDump: expected true or false, got "yes"'],
  [{ keepOnFailure: '1d' }, `keepOnFailure: expected true, false, or a duration such as '30m', got "1d"`],
  [{ keepOnFailure: Number.POSITIVE_INFINITY }, 'keepOnFailure: expected true, false, or a duration such as'],
])('an invalid option for artifacts is rejected: %j', (options, message) => {
  expect(optionError(findOptionProblems(options)).message).toContain(message)
})

test.each([['1000'], ['1000:1000'], ['virt-user'], ['_user$'], ['2nd']])('`runAs: %j` is valid', (runAs) => {
  expect(findOptionProblems({ runAs })).toEqual([])
})

test.each([[''], ['a b'], ['user:group'], ['-u'], ['1:'], [1000], ['12345678901']])(
  '`runAs: %j` is rejected',
  (runAs) => {
    expect(optionError(findOptionProblems({ runAs })).message).toContain(
      "runAs: expected a user name, or ids such as '1000:1000', got ",
    )
  },
)

test.each<[VMOptions, string]>([
  [
    { hda: 'a', image: 'b' },
    'hda: got both; expected only one of `hda` and `image` (each is the disk to boot from)',
  ],
  [
    { cdrom: 'a', hdc: 'b' },
    'cdrom: got both; expected only one of `cdrom` and `hdc` (both are the third IDE disk), or the CD in `disks`',
  ],
  [{ disks: [{}] }, 'disks[0]: got neither; expected `image`, or `size` for a new disk'],
  [
    { disks: [{ image: 'a', size: '1G' }] },
    'disks[0].size: got both; expected only one of `image` and `size` (an image has its own size)',
  ],
  [
    { disks: [{ image: 'a', media: 'cdrom', interface: 'virtio' }] },
    "disks[0].interface: got 'virtio' for a CD; expected one of 'ide', 'sata', 'scsi', 'usb'",
  ],
  [
    { disks: [{ size: 1, interface: 'ide', index: 1 }], hdb: 'a' },
    "hdb: got index 1 on 'ide', which disks[0] uses; expected a free `index`",
  ],
  [
    { disks: [{ size: 1, bootIndex: 1 }], network: { bootIndex: 1 } },
    'network.bootIndex: got 1; expected a boot index other than that of disks[0]',
  ],
  [
    { disks: [{ size: 1, snapshot: false }] },
    'disks[0].snapshot: got false; expected the path of a file in `image` (the guest writes to this file)',
  ],
  [
    { disks: [{ image: './a.img', snapshot: false }] },
    'disks[0].snapshot: got false; expected `format` to be set too (a guest could write the header of another format to the file)',
  ],
  [
    { cpus: { sockets: 2, cores: 2, threads: 1, count: 3 } },
    'cpus: got a `count` of 3 for a topology of 4; expected a `count` of 4',
  ],
  [{ cpus: { count: 4, maxcpus: 2 } }, 'cpus.count: got 4; expected at most `maxcpus`, 2'],
  [{ memory: { size: '1G', max: '512M' } }, 'memory.max: got 512 MiB; expected more than `size`, 1 GiB'],
  [{ memory: { slots: 2 } }, 'memory.slots: got 2; expected `max` to be set too (the maximum memory)'],
  [
    { memory: '1G', numa: [{ memory: '512M' }] },
    'numa: got nodes with 512 MiB in total; expected the same total as `memory`, 1 GiB',
  ],
  [
    { numa: [{ memory: '512M', cpus: [1] }] },
    'numa[0].cpus: got CPU 1; expected a CPU below 1, the number of CPUs',
  ],
  [
    { machine: 'pc', firmware: { type: 'uefi', secureBoot: true } },
    "machine: got 'pc' with Secure Boot; expected 'q35' (other machines cannot protect the UEFI variables from the guest)",
  ],
  [
    { tpm: { version: '1.2', model: 'crb' } },
    "tpm.model: got 'crb' with version 1.2; expected 'tis' (CRB requires TPM 2.0)",
  ],
  [
    { network: [{}, { net: '10.9.0.0/24', dns: '10.0.2.3' }] },
    'network[1].dns: got "10.0.2.3"; expected an address of the network 10.9.0.0/24',
  ],
])('options that conflict are rejected: %j', (options, problem) => {
  expect(problems(options)).toEqual([problem])
})

test.each<[unknown, string]>([
  [{ firmware: { type: 'bios' } }, 'firmware.file: got nothing; expected the path of a firmware file'],
  [{ firmware: { type: 'efi' } }, "firmware.type: got \"efi\"; expected 'uefi' or 'bios'"],
  [{ firmware: 'efi' }, "firmware: got \"efi\"; expected 'bios' or 'uefi'"],
  [{ tpm: 'yes' }, 'tpm: got "yes"; expected true or false'],
  [
    { disks: [{ size: '1G', interface: 'sas' }] },
    "disks[0].interface: got \"sas\"; expected one of 'virtio', 'scsi', 'ide', 'sata', 'usb', 'nvme', 'sd', 'floppy', 'pflash'",
  ],
  [{ disks: [{ sise: '1G' }] }, "disks[0].sise: got an unknown option; expected 'size'"],
  [
    { rtc: { base: 'yesterday' } },
    "rtc.base: got \"yesterday\"; expected 'utc', 'localtime', or a date such as '2030-01-31T12:00:00'",
  ],
  [
    { devices: [{ driver: 'a,b=c' }] },
    'devices[0].driver: got "a,b=c"; expected a device as QEMU names it, such as \'virtio-rng-pci\'',
  ],
  [
    { devices: [{ driver: 'a', 'b,c': 1 }] },
    'devices[0].b,c: got 1; expected a string, a number, true or false',
  ],
  [{ network: [] }, 'network: got []; expected at least one card'],
])('an invalid value is rejected: %j', (options, problem) => {
  expect(problems(options)[0]).toBe(problem)
})

test('display options that conflict are rejected', () => {
  const options = {
    vga: 'none',
    vnc: { socket: 'vnc.sock', display: 1, password: 'far too long' },
    spice: { bind: '127.0.0.1' },
  }
  expect(problems(options)).toEqual([
    'vnc.password: got "far too long"; expected a password of at most 8 characters',
  ])
  expect(problems({ ...options, vnc: { socket: 'vnc.sock', display: 1 }, grab: 'right-ctrl' })).toEqual([
    'vnc.display: got both; expected only one of `vnc.display` and `vnc.socket`',
    'spice.bind: got "127.0.0.1"; expected `spice.port` to be set too (by default, SPICE listens on a unix socket)',
    "grab: got 'right-ctrl'; expected `display: 'sdl'` to be set too (other windows have fixed keys)",
    "vga: got 'none' together with `vnc` and `spice`; expected a graphics card such as 'std'",
  ])
  expect(
    problems({ vnc: true, spice: { port: 5930, password: 'ticket' }, tablet: 'usb', hotplug: true }),
  ).toEqual([])
})

test('the terminal of this process is not handed to the user of `runAs`', () => {
  expect(problems({ display: 'curses', runAs: 'nobody' })).toEqual([
    "display: got 'curses' together with `runAs`; expected `vnc: true`, or no `runAs` (the other user could read this terminal and type commands into its shell)",
  ])
  expect(problems({ display: 'curses' })).toEqual([])
  expect(problems({ vnc: true, runAs: 'nobody' })).toEqual([])
})
