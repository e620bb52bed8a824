import { expect, test } from 'vitest'
import { buildManualCommand, buildQemuCommand } from '../../../../src/qemu/argv/build-command.js'
import { joinOption } from '../../../../src/qemu/argv/join-option.js'
import type { Wiring } from '../../../../src/qemu/command.js'
import type { BaseImage } from '../../../../src/spec/base-image.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { SAMPLE_IMAGE as image, SAMPLE_WIRING as wiring } from '../../../support/sample-machine.js'

const build = (options: VMOptions, overrides: Partial<Wiring> = {}, base: BaseImage | undefined = image) =>
  buildQemuCommand(resolveSpec(options, base), { ...wiring, ...overrides })

test("the kernel argument with the TSC frequency precedes the author's arguments", () => {
  expect(build({ append: 'tsc_early_khz=1' }, { tscKhz: 2_298_000 }).args).toContain(
    'tsc_early_khz=2298000 console=ttyS0 quiet tsc_early_khz=1',
  )
})

test('the command line of the default guest is complete', () => {
  expect(build({}, { hostPorts: [40_022] })).toMatchInlineSnapshot(`
    {
      "args": [
        "-name",
        "guest=tiny",
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "pc,accel=tcg,graphics=off,dump-guest-core=off,usb=off,vmport=off,smbus=off",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-m",
        "size=262144k",
        "-kernel",
        "/cache/kernel",
        "-initrd",
        "/cache/initrd",
        "-append",
        "console=ttyS0 quiet",
        "-drive",
        "id=disk0,if=none,file=/run/disk.qcow2,format=qcow2,node-name=disk0-overlay,file.node-name=disk0-file,discard=unmap",
        "-device",
        "virtio-blk-pci,drive=disk0",
        "-netdev",
        "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22",
        "-device",
        "virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile=",
        "-chardev",
        "socket,id=qmp,path=/run/qmp.sock",
        "-mon",
        "chardev=qmp,mode=control",
        "-chardev",
        "socket,id=serial0,path=/run/serial.sock",
        "-chardev",
        "null,id=run-folder,logfile=/run/serial.log,logappend=on",
        "-serial",
        "chardev:serial0",
        "-chardev",
        "socket,id=agent,path=/run/agent.sock",
        "-chardev",
        "socket,id=identity,path=/run/identity.sock",
        "-device",
        "virtio-serial-pci",
        "-device",
        "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-device",
        "virtserialport,chardev=identity,name=org.withvm.identity-agent.0",
        "-smbios",
        "type=11,path=/run/smbios-0",
        "-display",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      ],
      "file": "/usr/bin/qemu-system-x86_64",
    }
  `)
})

/** Options and the consecutive arguments that they must produce. */
const TABLE: ReadonlyArray<readonly [string, VMOptions, readonly string[]]> = [
  ['a name', { name: 'web-1' }, ['-name', 'guest=web-1']],
  ['memory with a unit', { memory: '2G' }, ['-m', 'size=2097152k']],
  ['memory in MiB', { memory: 512 }, ['-m', 'size=524288k']],
  ['CPUs', { cpus: 4 }, ['-smp', '4']],
  ['a CPU model', { cpu: 'qemu64,+rdrand' }, ['-cpu', 'qemu64,+rdrand']],
  [
    'kernel arguments after those of the image',
    { append: 'loglevel=7' },
    ['-append', 'console=ttyS0 quiet loglevel=7'],
  ],
  [
    'a kernel with its own arguments',
    { kernel: '/k', append: ['a', 'b'] },
    ['-kernel', '/k', '-append', 'a b'],
  ],
  [
    'GDB on a socket of the run',
    { debug: { gdb: true } },
    ['-chardev', 'socket,id=gdb,path=/run/gdb.sock,server=on,wait=off', '-gdb', 'chardev:gdb'],
  ],
  ['GDB on a port', { debug: { gdb: 1234 } }, ['-gdb', 'tcp:127.0.0.1:1234']],
  [
    'a display card, whose text is not copied to the serial console',
    { vga: 'std' },
    ['-machine', 'pc,accel=tcg,dump-guest-core=off,usb=off,vmport=off,smbus=off'],
  ],
  ['a boot order', { boot: 'n' }, ['-boot', 'order=n']],
  ['a boot menu', { boot: 'd', bootMenu: true }, ['-boot', 'order=d,menu=on']],
  [
    'a CPU topology',
    { cpus: { count: 2, sockets: 2, cores: 2, threads: 1, maxcpus: 4 } },
    ['-smp', '2,maxcpus=4,sockets=2,cores=2,threads=1'],
  ],
  ['the number of CPUs of a topology', { cpus: { sockets: 2, cores: 3 } }, ['-smp', '6,sockets=2,cores=3']],
  [
    'memory that can grow',
    { memory: { size: '1G', max: '4G' } },
    ['-m', 'size=1048576k,slots=8,maxmem=4194304k'],
  ],
  [
    'NUMA nodes',
    { cpus: 3, numa: [{ memory: '1G', cpus: [0, 2] }, { memory: '2G' }] },
    [
      ...['-m', 'size=3145728k'],
      ...[
        '-object',
        'memory-backend-ram,id=node0,size=1048576k',
        '-numa',
        'node,nodeid=0,memdev=node0,cpus=0,cpus=2',
      ],
      ...['-object', 'memory-backend-ram,id=node1,size=2097152k', '-numa', 'node,nodeid=1,memdev=node1'],
    ],
  ],
  ['a clock', { rtc: { base: 'localtime', clock: 'vm' } }, ['-rtc', 'base=localtime,clock=vm']],
  [
    'the interface of the system disk',
    { systemDisk: { interface: 'scsi', serial: 'A,B', bootIndex: 1, cache: 'none', discard: 'ignore' } },
    [
      ...['-device', 'virtio-scsi-pci,id=scsi'],
      ...[
        '-drive',
        'id=disk0,if=none,file=/run/disk.qcow2,format=qcow2,node-name=disk0-overlay,file.node-name=disk0-file,cache=none,discard=ignore',
      ],
      ...['-device', 'scsi-hd,bus=scsi.0,scsi-id=0,drive=disk0,serial=A,,B,bootindex=1'],
    ],
  ],
  ['an empty CD drive', { disks: [{ media: 'cdrom' }] }, ['-device', 'ide-cd,id=medium1,bus=ide.0,unit=0']],
  [
    'an empty SATA CD drive',
    { machine: 'q35', disks: [{ media: 'cdrom', index: 3 }] },
    ['-device', 'ide-cd,id=medium1,bus=ide.3,unit=0'],
  ],
  [
    'several cards',
    { network: [{ bootIndex: 2 }, { model: 'e1000', internet: true, ipv6: false }] },
    [
      ...['-device', 'virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,bootindex=2'],
      ...[
        '-netdev',
        'user,id=net1,restrict=off,net=10.0.3.0/24,ipv6=off',
        '-device',
        'e1000,netdev=net1,romfile=',
      ],
    ],
  ],
  [
    'devices',
    {
      vga: 'qxl',
      rng: true,
      balloon: true,
      watchdog: { action: 'pause' },
      sound: 'ich6',
      devices: [{ driver: 'pvpanic', ioport: 1285, events: true, id: 'a,b' }],
    },
    [
      ...['-vga', 'qxl', '-device', 'virtio-rng-pci', '-device', 'virtio-balloon-pci'],
      ...['-device', 'i6300esb', '-action', 'watchdog=pause'],
      ...['-audiodev', 'none,id=sound', '-device', 'intel-hda', '-device', 'hda-duplex,audiodev=sound'],
      ...['-device', 'pvpanic,ioport=1285,events=on,id=a,,b'],
    ],
  ],
  [
    'a window, with secrets of VNC and SPICE in files',
    {
      display: 'sdl',
      grab: 'right-ctrl',
      keyboardLayout: 'de',
      tablet: 'virtio',
      vnc: { password: 'a,b', websocket: 5701, bind: '127.0.0.2', display: 3 },
      spice: { port: 5930, password: 'ticket' },
    },
    [
      ...['-display', 'sdl,grab-mod=rctrl', '-vga', 'std', '-k', 'de', '-device', 'virtio-tablet-pci'],
      ...['-object', 'secret,id=vnc-secret,file=SECRET_FILE'],
      ...['-vnc', '127.0.0.2:3,websocket=5701,password-secret=vnc-secret'],
      ...['-object', 'secret,id=spice-secret,file=SECRET_FILE'],
      ...['-spice', 'addr=127.0.0.1,port=5930,password-secret=spice-secret'],
    ],
  ],
  [
    'VNC and SPICE servers on sockets',
    { vnc: { socket: '/run/a,b' }, spice: true },
    ['-vnc', 'vnc=unix:/run/a,,b', '-spice', 'unix=on,addr=spice.sock,disable-ticketing=on'],
  ],
  ['a VNC server', { vnc: true, vga: 'cirrus' }, ['-vga', 'cirrus', '-vnc', '127.0.0.1:0,to=99']],
  [
    'root ports for PCI Express hot-plug',
    { machine: 'q35', hotplug: true },
    ['-device', 'pcie-root-port,id=plug-port-1,chassis=1,slot=1'],
  ],
  ['raw arguments', { qemuArgs: ['-d', 'int'] }, ['-d', 'int']],
]

test.each(TABLE)('the command line contains %s', (_what, options, expected) => {
  const { args } = build(options)
  expect(args.join('\n')).toContain(expected.join('\n'))
})

test('`qemuArgs` are the last arguments', () => {
  expect(build({ qemuArgs: ['-d', 'int'] }).args.slice(-2)).toEqual(['-d', 'int'])
})

test('the network is restricted by default, and each port forward has its own option', () => {
  const hostfwd = [{ guest: 80 }, { guest: 53, protocol: 'udp', bind: '0.0.0.0' }] as const
  expect(build({ hostfwd }).args).toContain(
    'user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22,hostfwd=tcp:127.0.0.1:40080-:80,hostfwd=udp:0.0.0.0:40053-:53',
  )
  expect(build({ ssh: false, network: { internet: true } }).args).toContain('user,id=net0,restrict=off')
})

test('a network card has a boot ROM only if the guest may boot from the network', () => {
  expect(build({}).args).toContain('virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile=')
  expect(build({ boot: 'nc', network: { model: 'e1000' } }).args).toContain(
    'e1000,netdev=net0,mac=52:54:00:12:34:56',
  )
})

test('network boot passes the TFTP folder and the boot file', () => {
  const { args } = build(
    { boot: 'n', network: { tftp: '/srv/tftp,1', bootfile: 'pxelinux.0' }, ssh: false },
    {},
    undefined,
  )
  expect(args).toContain('user,id=net0,restrict=on,tftp=/srv/tftp,,1,bootfile=pxelinux.0')
})

test('a boot order disables direct kernel boot', () => {
  expect(build({ boot: 'c' }).args).not.toContain('-kernel')
})

test('PC options are not passed to other machine types', () => {
  expect(build({ machine: 'microvm' }).args).toContain(
    'microvm,accel=tcg,graphics=off,dump-guest-core=off,usb=off,pcie=on',
  )
})

test('a guest without a disk has no drive', () => {
  expect(build({ kernel: '/k', ssh: false }, { overlay: undefined }, undefined).args.join(' ')).not.toContain(
    'virtio-blk',
  )
})

test('commas in values are doubled, so that no value can add an option', () => {
  expect(joinOption('user', { id: 'a,restrict=off', none: undefined, empty: '' })).toBe(
    'user,id=a,,restrict=off,empty=',
  )
})

test('the manual command line uses a snapshot of the base image, the terminal as console and no secrets', () => {
  expect(
    buildManualCommand(resolveSpec({}, image), { ...wiring, hostPorts: [40_022] }),
  ).toMatchInlineSnapshot(`
    {
      "args": [
        "-name",
        "guest=tiny",
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "pc,accel=tcg,graphics=off,dump-guest-core=off,usb=off,vmport=off,smbus=off",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-m",
        "size=262144k",
        "-kernel",
        "/cache/kernel",
        "-initrd",
        "/cache/initrd",
        "-append",
        "console=ttyS0 quiet",
        "-drive",
        "id=disk0,if=none,file=/cache/disk.qcow2,format=qcow2,snapshot=on,discard=unmap",
        "-device",
        "virtio-blk-pci,drive=disk0",
        "-netdev",
        "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22",
        "-device",
        "virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile=",
        "-serial",
        "mon:stdio",
        "-display",
        "none",
      ],
      "file": "/usr/bin/qemu-system-x86_64",
    }
  `)
})

test('RAM in a file is private unless the guest is saved', () => {
  const memoryFiles = { paths: ['/cache/t,1/memory'], isWritten: false }
  const clone = build({}, { memoryFiles, isIncoming: true }).args
  expect(clone).toContain('memory-backend-file,id=ram,mem-path=/cache/t,,1/memory,size=262144k,share=off')
  expect(clone.join(' ')).toContain('memory-backend=ram')
  expect(clone.join(' ')).toContain('-incoming defer')
  const template = build({}, { memoryFiles: { ...memoryFiles, isWritten: true } }).args
  expect(template).toContain('memory-backend-file,id=ram,mem-path=/cache/t,,1/memory,size=262144k,share=on')
  expect(template).not.toContain('-incoming')
})

test.each([
  ['luks', 'key-secret'],
  ['qcow2', 'encrypt.key-secret'],
] as const)('an image encrypted as %s is opened with a secret file', (format, key) => {
  const encryption = { secret: 'open sesame', virtualBytes: 1 << 20 }
  const encrypted: BaseImage = { ...image, disk: { path: '/disk', format, encryption } }
  const overlay = { path: '/run/disk.qcow2', format: 'qcow2', secretFile: '/run/disk-secret' }
  const { args } = build({}, { hostPorts: [40_022], overlay }, encrypted)
  expect(args.join(' ')).toContain(
    `-object secret,id=disk0-secret,file=/run/disk-secret -drive id=disk0,if=none,file=/run/disk.qcow2,format=qcow2,node-name=disk0-overlay,file.node-name=disk0-file,backing.${key}=disk0-secret,discard=unmap`,
  )
  const layers = { generation: 3, files: ['disk.qcow2', 'disk-0.2.qcow2'] }
  const forked = build({}, { hostPorts: [40_022], overlay: { ...overlay, layers } }, encrypted)
  expect(forked.args.join(' ')).toContain(
    `node-name=disk0-overlay-3,file.node-name=disk0-file-3,backing.backing.backing.${key}=disk0-secret,`,
  )
  const manual = buildManualCommand(resolveSpec({}, encrypted), wiring)
  expect(manual.args.join(' ')).toContain(`format=${format},snapshot=on,${key}=disk0-secret`)
  expect(manual.args.join(' ')).not.toContain('sesame')
})

test('each connection to a `guestfwd` address starts a process', () => {
  const handler = () => {}
  const guestfwd = [
    { address: '10.0.2.100:7', command: 'cat -n,id=x' },
    { address: '10.0.2.100:8', socket: '/run/a,b' },
    { address: '10.0.2.100:9', handler },
  ]
  const { args } = build({ network: { smb: '/srv,v2', guestfwd } }, { sandbox: true, hostPorts: [40_022] })
  const backend = args[args.indexOf('-netdev') + 1] ?? ''
  expect(backend).toContain(
    'user,id=net0,restrict=on,smb=/srv,,v2,guestfwd=tcp:10.0.2.100:7-cmd:cat -n,,id=x,guestfwd=tcp:10.0.2.100:8-cmd:env -u NODE_OPTIONS ',
  )
  expect(backend).toContain('connect({"path":"/run/a,,b",,"allowHalfOpen":true})')
  expect(backend).not.toContain('10.0.2.100:9') // the manual command line cannot call a function
  expect(args[args.indexOf('-sandbox') + 1]).toContain('spawn=allow')
  const spec = resolveSpec({ network: { guestfwd } }, image)
  const forwardCommands = new Map(
    spec.network.guestForwards.map((forward) => [forward, `/run/f,${forward.port}`]),
  )
  const ofRun = buildQemuCommand(spec, { ...wiring, forwardCommands }).args
  expect(ofRun[ofRun.indexOf('-netdev') + 1]).toMatch(
    /guestfwd=tcp:10\.0\.2\.100:7-cmd:\/run\/f,,7,guestfwd=tcp:10\.0\.2\.100:8-cmd:\/run\/f,,8,guestfwd=tcp:10\.0\.2\.100:9-cmd:\/run\/f,,9/,
  )
})
