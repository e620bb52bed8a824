import { expect, test } from 'vitest'
import { parseCommandLine } from '../../../../src/import/command-line/parse-command-line.js'
import { findOptionProblems } from '../../../../src/spec/validate-options.js'

const read = (line: string) => parseCommandLine(line, { isFile: () => false, hasTerminal: false })
const options = (line: string) => read(line).options
const translated = (line: string) =>
  read(line).replacedArguments.map(({ from, to, reason }) => `${from} was translated to ${to}: ${reason}.`)

test('a common network boot command line is translated with the default card', () => {
  const line = 'qemu -hda linux.img -boot n -net user,tftp=/tftpserver/pub,bootfile=/pxelinux.0'
  expect(options(line)).toEqual({
    hda: 'linux.img',
    boot: 'n',
    network: { internet: true, tftp: '/tftpserver/pub', bootfile: '/pxelinux.0' },
  })
  expect(translated(line)).toEqual([
    "-net user,tftp=/tftpserver/pub,bootfile=/pxelinux.0 was translated to network: { model: 'virtio-net-pci' }: the command line specifies no card for this network, so the default card is used.",
  ])
})

test('a range of CPUs is not counted to its end, and such CPUs are invalid', () => {
  const { numa } = options('qemu -numa node,mem=128,cpus=0-99999999999')
  expect(numa?.[0]?.cpus).toHaveLength(256)
  expect(findOptionProblems({ numa }).map(({ path }) => path)).toEqual(['numa[0].cpus'])
})

test.each<[string, object]>([
  ['qemu-kvm -m 512 -smp 2 linux.img', { memory: '512M', cpus: 2, hda: 'linux.img' }],
  ['kvm -m 1G,slots=2,maxmem=4G', { memory: { size: '1G', max: '4G', slots: 2 }, image: false }],
  ['qemu -smp 2,cores=2,maxcpus=4', { cpus: { count: 2, maxcpus: 4, cores: 2 }, image: false }],
  [
    'qemu -M q35,accel=kvm:tcg -cpu qemu64,+rdrand',
    { machine: 'q35', accel: 'auto', cpu: 'qemu64,+rdrand', image: false },
  ],
  ['qemu -runas nobody', { runAs: 'nobody', image: false }],
  ['qemu-system-aarch64 -M virt', { arch: 'aarch64', machine: 'virt', image: false }],
  [
    'qemu -device usb-tablet,serial=T,,?',
    { devices: [{ driver: 'usb-tablet', serial: 'T,?' }], image: false },
  ],
  [
    '/opt/qemu/bin/qemu-system-s390x',
    { qemu: '/opt/qemu/bin/qemu-system-s390x', arch: 's390x', image: false },
  ],
  ['/opt/qemu/bin/qemu-kvm -enable-kvm', { qemu: '/opt/qemu/bin/qemu-kvm', accel: 'kvm', image: false }],
  [
    'qemu -hda a.img -hdb b.img -cdrom c.iso -fda f.img -snapshot',
    { hda: 'a.img', hdb: 'b.img', cdrom: 'c.iso', fda: 'f.img' },
  ],
  [
    'qemu -drive file=a,,b.qcow2,if=virtio,format=qcow2,cache=none,serial=ONE',
    {
      image: { path: 'a,b.qcow2', format: 'qcow2' },
      systemDisk: { interface: 'virtio', cache: 'none', serial: 'ONE' },
    },
  ],
  [
    'qemu -drive file=a.img,if=ide,index=1,media=cdrom -drive file=b.img,if=scsi',
    {
      image: 'b.img',
      systemDisk: { interface: 'scsi' },
      disks: [{ image: 'a.img', interface: 'ide', index: 1, media: 'cdrom' }],
    },
  ],
  [
    'qemu -drive if=none,id=d,file=a.raw,format=raw -device virtio-scsi-pci,id=s -device scsi-hd,bus=s.0,drive=d,bootindex=1',
    {
      image: { path: 'a.raw', format: 'raw' },
      systemDisk: { interface: 'scsi', bootIndex: 1 },
    },
  ],
  [
    'qemu -netdev user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-10.0.2.15:5353 -device e1000,netdev=n,mac=52:54:00:00:00:01',
    {
      image: false,
      network: { model: 'e1000', mac: '52:54:00:00:00:01', internet: true },
      hostfwd: [
        { guest: 22, host: 2222, bind: '127.0.0.1' },
        { guest: 5353, host: 53, protocol: 'udp', bind: '127.0.0.1' },
      ],
    },
  ],
  [
    "qemu -net nic -net 'user,restrict=on,smb=/srv,guestfwd=tcp:10.0.2.100:80-cmd:nc 10.0.0.1 80,guestfwd=:10.0.2.100:81-tcp:127.0.0.1:81,guestfwd=tcp:10.0.2.100:82-unix:/s'",
    {
      image: false,
      network: {
        model: 'e1000',
        internet: false,
        smb: '/srv',
        guestfwd: [
          { address: '10.0.2.100:80', command: 'nc 10.0.0.1 80' },
          { address: '10.0.2.100:81', tcp: '127.0.0.1:81' },
          { address: '10.0.2.100:82', socket: '/s' },
        ],
      },
    },
  ],
  [
    'qemu -nic user,model=virtio,restrict=y,net=10.1.0.0/255.255.0.0,hostname=h',
    {
      image: false,
      network: { model: 'virtio-net-pci', internet: false, net: '10.1.0.0/16', hostname: 'h' },
    },
  ],
  [
    'qemu -kernel vmlinuz -initrd initrd.gz -append "console=ttyS0 root=/dev/sda1" -boot once=d,menu=on,order=c',
    {
      kernel: 'vmlinuz',
      initrd: 'initrd.gz',
      append: 'console=ttyS0 root=/dev/sda1',
      boot: 'c',
      bootOnce: 'd',
      bootMenu: true,
      image: false,
    },
  ],
  [
    'qemu -rtc base=2030-01-01,clock=vm -vga std -watchdog-action pause -device i6300esb',
    {
      rtc: { base: '2030-01-01', clock: 'vm' },
      vga: 'std',
      watchdog: { model: 'i6300esb', action: 'pause' },
      image: false,
    },
  ],
  [
    'qemu-system-aarch64 -M virt -bios fw/u-boot.bin',
    { arch: 'aarch64', machine: 'virt', firmware: { type: 'bios', file: 'fw/u-boot.bin' }, image: false },
  ],
  ['qemu -bios bios-microvm.bin', { image: false, qemuArgs: ['-bios', 'bios-microvm.bin'] }],
  ['qemu -s', { debug: { gdb: 1234 }, image: false }],
  ['qemu -gdb tcp:127.0.0.1:9000', { debug: { gdb: 9000 }, image: false }],
  [
    'qemu -gdb unix:/run/gdb.sock,server=on,wait=off',
    { image: false, qemuArgs: ['-gdb', 'unix:/run/gdb.sock,server=on,wait=off'] },
  ],
  [
    'qemu -object memory-backend-ram,id=m,size=128M,host-nodes=0-1,host-nodes=3,policy=bind -numa node,memdev=m',
    { numa: [{ memory: '128M', cpus: [], hostNodes: [0, 1, 3], policy: 'bind' }], image: false },
  ],
  [
    'qemu -numa node,mem=128,cpus=0-1 -numa node,mem=128,cpus=2,cpus=3',
    {
      numa: [
        { memory: '128M', cpus: [0, 1] },
        { memory: '128M', cpus: [2, 3] },
      ],
      image: false,
    },
  ],
  [
    'qemu -name guest=one -device usb-tablet,serial=T,,1 -device virtio-rng-pci -uuid 5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162 -smbios type=1,serial=A,,1,product=P -smbios type=3,serial=C -k de -vnc :1 -no-reboot',
    {
      name: 'one',
      devices: [{ driver: 'usb-tablet', serial: 'T,1' }],
      rng: true,
      keyboardLayout: 'de',
      vnc: { display: 1 },
      smbios: { uuid: '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162', serial: 'A,1', product: 'P' },
      qemuArgs: ['-smbios', 'type=3,serial=C', '-no-reboot'],
      image: false,
    },
  ],
  [
    'qemu -drive file=x,if=none,aio=native,snapshot=on',
    { qemuArgs: ['-drive', 'file=x,if=none,aio=native,snapshot=on'], image: false },
  ],
  ['qemu --nodefaults -no-user-config -nographic -display none -serial none', { image: false }],
])('%s is parsed to options', (line, expected) => {
  expect(options(line)).toEqual(expected)
})

test.each<[string, object, string[]]>([
  [
    'qemu -M pc -net nic,vlan=0,model=rtl8139,macaddr=52:54:00:00:00:02,name=lan,addr=0x10,vectors=3 -net user,vlan=0 -redir tcp:8080::80',
    {
      machine: 'pc',
      image: false,
      network: {
        model: 'rtl8139',
        mac: '52:54:00:00:00:02',
        id: 'lan',
        address: '0x10',
        vectors: 3,
        internet: true,
      },
      hostfwd: [{ guest: 80, host: 8080, bind: '127.0.0.1' }],
    },
    [
      '-redir tcp:8080::80 was translated to hostfwd: [{"guest":80,"host":8080,"bind":"127.0.0.1"}]: the option was removed from QEMU.',
    ],
  ],
  [
    'qemu -net nic -net user -net nic,vlan=1 -net user,vlan=1',
    {
      image: false,
      network: [
        { model: 'e1000', internet: true },
        { model: 'e1000', internet: true },
      ],
    },
    [
      '-net nic,vlan=1 was translated to a separate network: `vlan` was removed from QEMU.',
      '-net user,vlan=1 was translated to a separate network: `vlan` was removed from QEMU.',
    ],
  ],
  [
    'qemu -net nic -net nic,model=virtio -net user',
    {
      image: false,
      qemuArgs: [
        '-netdev',
        'user,id=hub0end0',
        '-netdev',
        'hubport,id=hub0port0,hubid=0,netdev=hub0end0',
        '-netdev',
        'hubport,id=hub0port1,hubid=0',
        '-device',
        'e1000,netdev=hub0port1',
        '-netdev',
        'hubport,id=hub0port2,hubid=0',
        '-device',
        'virtio-net-pci,netdev=hub0port2',
      ],
    },
    [
      '-net nic was translated to -device e1000 at a hub: hubs replaced `vlan` in QEMU.',
      '-net nic,model=virtio was translated to -device virtio at a hub: hubs replaced `vlan` in QEMU.',
      '-net user was translated to -netdev user,id=hub0end0 at a hub: hubs replaced `vlan` in QEMU.',
    ],
  ],
  [
    'qemu -netdev tap,id=net0,ifname=tap7,script=no -device e1000,netdev=net0',
    {
      image: false,
      qemuArgs: ['-netdev', 'tap,id=line-net0,ifname=tap7,script=no', '-device', 'e1000,netdev=line-net0'],
    },
    [
      '-netdev tap,id=net0,ifname=tap7,script=no was translated to the same, plus one card: withvm reaches the guest through its own card.',
      'id=net0 was translated to id=line-net0: withvm already uses that ID.',
    ],
  ],
  [
    'kvm -no-kvm -tdf',
    { accel: 'tcg', image: false },
    [
      "-no-kvm was translated to accel: 'tcg': the option was removed from QEMU.",
      '-tdf was translated to nothing: QEMU catches up on lost ticks automatically.',
    ],
  ],
  [
    'qemu -localtime -std-vga -soundhw hda',
    { rtc: { base: 'localtime' }, vga: 'std', sound: 'ich6', image: false },
    [
      "-localtime was translated to rtc: { base: 'localtime' }: QEMU now provides it as `-rtc base=`.",
      "-std-vga was translated to vga: 'std': the option was removed from QEMU.",
      "-soundhw hda was translated to sound: 'ich6': the option was removed from QEMU.",
    ],
  ],
  [
    'qemu -usbdevice tablet -usbdevice disk:format=raw:stick.img',
    {
      usb: true,
      devices: [{ driver: 'usb-tablet' }],
      disks: [{ interface: 'usb', image: { path: 'stick.img', format: 'raw' } }],
      image: false,
    },
    [
      "-usbdevice tablet was translated to usb: true, devices: [{ driver: 'usb-tablet' }]: QEMU now provides it as a device.",
      '-usbdevice disk:format=raw:stick.img was translated to disks: [{"interface":"usb","image":{"path":"stick.img","format":"raw"}}]: the USB device was removed from QEMU.',
    ],
  ],
  [
    'qemu -sdl -alt-grab',
    { display: 'sdl', grab: 'ctrl-alt-shift', image: false },
    [
      "-sdl was translated to display: 'sdl': the option was removed from QEMU.",
      "-alt-grab was translated to grab: 'ctrl-alt-shift': the option was removed from QEMU.",
    ],
  ],
  [
    'qemu -display sdl,grab-mod=rctrl -vnc unix:/tmp/v -spice port=5930,addr=127.0.0.1,disable-ticketing=on',
    {
      display: 'sdl',
      grab: 'right-ctrl',
      vnc: { socket: '/tmp/v' },
      spice: { port: 5930 },
      image: false,
    },
    [],
  ],
  [
    'qemu -display gtk,gl=on -vnc :2,password=on -spice port=5930',
    {
      qemuArgs: ['-display', 'gtk,gl=on', '-vnc', ':2,password=on', '-spice', 'port=5930'],
      image: false,
    },
    [],
  ],
  [
    'qemu -display gtk -vnc :2,websocket=on -spice port=5930,password=secret',
    {
      display: 'gtk',
      vnc: { display: 2, websocket: true },
      spice: { port: 5930, password: 'secret' },
      image: false,
    },
    [
      '-vnc :2,websocket=on was translated to vnc, on 127.0.0.1: QEMU would listen on all addresses of this host; withvm exposes guests on loopback only.',
      '-spice port=5930,password=secret was translated to spice, on 127.0.0.1: QEMU would listen on all addresses of this host; withvm exposes guests on loopback only.',
    ],
  ],
  [
    'qemu -ctrl-grab -curses',
    { image: false },
    [
      '-ctrl-grab was translated to nothing: the guest has no window that could grab the keyboard or mouse.',
      '-curses was translated to nothing: this process has no terminal; use vm.serial for the console and vm.screenshot() for the screen.',
    ],
  ],
  [
    'qemu -no-hpet -no-acpi -monitor stdio -serial mon:stdio -daemonize',
    { qemuArgs: ['-machine', 'hpet=off', '-machine', 'acpi=off'], image: false },
    [
      '-no-hpet was translated to -machine hpet=off: QEMU now provides it as a machine property.',
      '-no-acpi was translated to -machine acpi=off: QEMU now provides it as a machine property.',
      '-monitor stdio was translated to vm.qmp: the guest of a test has no terminal; vm.qmp replaces the monitor.',
      '-serial mon:stdio was translated to vm.serial: withvm connects to the first serial port.',
      '-daemonize was translated to nothing: withvm manages the QEMU process.',
    ],
  ],
  [
    'qemu -serial null -serial unix:/run/x.sock,server,nowait',
    {
      qemuArgs: [
        '-chardev',
        'socket,id=line-serial1,path=/run/x.sock,server=on,wait=off',
        '-device',
        'isa-serial,chardev=line-serial1',
      ],
      image: false,
    },
    ['-serial null was translated to vm.serial: withvm connects to the first serial port.'],
  ],
  [
    'qemu -drive file=nbd:host:10809,if=virtio',
    { qemuArgs: ['-drive', 'file=nbd:host:10809,if=virtio,snapshot=on'], image: false },
    [
      '-drive file=nbd:host:10809,if=virtio was translated to -drive file=nbd:host:10809,if=virtio,snapshot=on: the writes of a guest are discarded with the guest.',
    ],
  ],
])('%s is parsed with a reason for each translation', (line, expected, messages) => {
  expect(options(line)).toEqual(expected)
  expect(translated(line)).toEqual(messages)
})

test.each<[string, string]>([
  [
    'virsh start x',
    'commandLine: expected `qemu`, `kvm`, `qemu-kvm` or `qemu-system-…`, got `virsh` as the program',
  ],
  ['qemu -hdx a.img', 'commandLine: expected an option of QEMU, such as -hda, -hdb, -hdc, got `-hdx`'],
  ['qemu -m', 'commandLine: expected a value for `-m`, got the end of the command line'],
  ['qemu -M ?', "commandLine: expected a value (`withvm list machines` lists the values), got `-M '?'`"],
  [
    'qemu -device e1000,help',
    'commandLine: expected a value (`withvm list devices e1000` lists the values), got `-device e1000,help`',
  ],
  ['qemu -d help', 'commandLine: expected a value (QEMU lists the values with `-d help`), got `-d help`'],
  [
    'qemu -hda $DISK',
    'commandLine: expected its value in place of it, for example from a template string, got a shell variable, $DISK',
  ],
  [
    'qemu -hda "$(ls)"',
    'commandLine: expected its output in place of it, got a command substitution, $(ls)"',
  ],
  [
    'qemu -m 512; reboot',
    'commandLine: expected a single command, or the character in quotes, got a shell operator, ; reboot',
  ],
  ["qemu -name 'x", "commandLine: expected a closing ` ' `, got 'x"],
  ['qemu -hda ~/x.img', 'commandLine: expected the path of the home folder in place of `~`, got ~/x.img'],
  [
    'qemu -loadvm a',
    'commandLine: expected no `-loadvm`: the guest runs on a new overlay, which does not contain the snapshots of the image, got `-loadvm a`',
  ],
])('the command line %s is rejected', (line, problem) => {
  expect(() => read(line)).toThrow(`1 option is invalid; no guest was started.\n  - ${problem}`)
})

test('all problems of a QEMU command line are reported in one error', () => {
  expect(() => read('qemu -fooo -loadvm a -m')).toThrow('3 options are invalid')
})

test('quotes, backslashes, line continuations and comments are parsed as by a shell', () => {
  const line = 'qemu \\\n  -append "a \\"b\\" \\x" -kernel my\\ kernel\'s\'"\\\n" # the rest -m 1\n -m 64'
  expect(options(line)).toEqual({ append: 'a "b" \\x', kernel: 'my kernels', memory: '64M', image: false })
})

test('UEFI firmware and a TPM are parsed from the output of `vm.commandLine`', () => {
  const line =
    'mkdir -p /tmp/t && swtpm socket --tpm2 --tpmstate dir=/tmp/t,mode=0600 --ctrl type=unixio,path=/tmp/t/sock,mode=0600 --terminate --daemon && qemu-system-x86_64 -machine q35,smm=on -drive if=pflash,unit=0,file=/usr/share/OVMF/CODE.fd,format=raw,readonly=on -drive if=pflash,unit=1,file=/usr/share/OVMF/VARS.fd,format=raw,snapshot=on -global driver=cfi.pflash01,property=secure,value=on -chardev socket,id=tpm,path=/tmp/t/sock -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0'
  expect(options(line)).toEqual({
    machine: 'q35',
    firmware: { type: 'uefi', secureBoot: true, vars: '/usr/share/OVMF/VARS.fd' },
    tpm: { model: 'crb', version: '2.0' },
    image: false,
  })
})

test('the curses display is used only if the process has a terminal', () => {
  for (const line of ['qemu -curses', 'qemu -display curses']) {
    const { options, replacedArguments } = parseCommandLine(line, { hasTerminal: true })
    expect([options, replacedArguments]).toEqual([{ display: 'curses', image: false }, []])
    expect(read(line).replacedArguments.map(({ to }) => to)).toEqual(['nothing'])
  }
})
