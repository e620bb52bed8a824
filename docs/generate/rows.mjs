/**
 * What people know from the command line of qemu-kvm: each with the options that it has become, and with the tests that boot a guest, or
 * start QEMU, and see the effect. A test is named by its file and by its title; what has none yet is told as a gap.
 */
const OPTIONS = 'test/guest/options'
const machine = (title) => [`${OPTIONS}/machine.test.ts`, title]
const disks = (title) => [`${OPTIONS}/disks.test.ts`, title]
const host = (title) => [`${OPTIONS}/host.test.ts`, title]
const ports = (title) => [`${OPTIONS}/ports.test.ts`, title]
const services = (title) => [`${OPTIONS}/guest-services.test.ts`, title]
const windows = (title) => ['test/guest/windows/windows.test.ts', title]
const running = (file, title) => [`test/guest/running/${file}.test.ts`, title]
const line = (title) => ['test/guest/command-line/command-line.test.ts', title]

const architectures = (file, title) => [`test/guest/architectures/${file}.test.ts`, title]

const LISTED = [
  'test/unit/cli/main.test.ts',
  '`withvm list` prints what QEMU supports and rejects unknown devices and architectures',
]
const SYSTEM_DISK = disks('the firmware boots from a system disk at %s, %j')
const FITTED = machine('the guest has the processors, nodes and memory that were asked for')
const CARDS = machine('its cards are on networks of their own, with the addresses that were said')
const NETWORK_BOOT = line(
  'a line with a blank disk and a folder of TFTP boots from the network, by a card that it does not name',
)

/** @type {Array<{ known: string, options: string[], tests?: Array<[file: string, title: string]>, gap?: string }>} */
export const ROWS = [
  {
    known: '`-name`',
    options: ['name'],
    tests: [
      ['test/guest/resources.test.ts', 'a guest has the CPUs, the memory and the name that were asked for'],
    ],
  },
  {
    known: '`-uuid`, `-smbios`',
    options: ['smbios'],
    tests: [machine('it says of itself what it was told to')],
  },
  {
    known: '`-M`, `-M ?`',
    options: ['machine'],
    tests: [
      SYSTEM_DISK,
      [`${OPTIONS}/microvm.test.ts`, 'a microvm boots its kernel directly, without the devices of a PC'],
      LISTED,
    ],
  },
  { known: '`-m`', options: ['memory'], tests: [FITTED] },
  {
    known: '`-cpu`, `-cpu ?`',
    options: ['cpu'],
    tests: [host('a kernel is started with an initial RAM file system and arguments'), LISTED],
  },
  { known: '`-smp`', options: ['cpus'], tests: [FITTED] },
  { known: '`-numa`', options: ['numa'], tests: [FITTED] },
  {
    known: '`-fda`, `-fdb`',
    options: ['fda', 'fdb'],
    tests: [disks('the firmware of a machine %s boots from a floppy disk')],
  },
  {
    known: '`-hda` … `-hdd`, a disk image alone',
    options: ['hda', 'hdb', 'hdc', 'hdd'],
    tests: [NETWORK_BOOT],
  },
  {
    known: '`-cdrom`',
    options: ['cdrom'],
    tests: [disks('the place in the boot order decides, whatever there is else')],
  },
  {
    known: '`-drive`',
    options: ['disks', 'systemDisk', 'image'],
    tests: [
      SYSTEM_DISK,
      disks('the firmware is what is on a flash'),
      disks('a disk of an image is written to in an overlay, one without a snapshot in the file'),
    ],
  },
  { known: '`-boot`', options: ['boot', 'bootOnce', 'bootMenu'], tests: [NETWORK_BOOT] },
  {
    known: '`-kernel`, `-initrd`, `-append`, `-dtb`',
    options: ['kernel', 'initrd', 'append', 'dtb'],
    tests: [host('a kernel is started with an initial RAM file system and arguments')],
  },
  {
    known: '`-bios`',
    options: ['firmware'],
    tests: [
      architectures('firmware', 'a machine %s starts U-Boot from a file in place of UEFI'),
      architectures('firmware', 'a command line of qemu-system-%s with -bios runs U-Boot'),
    ],
  },
  {
    known: '`-usb`',
    options: ['usb', 'devices'],
    tests: [machine('it has the devices that were asked for')],
  },
  {
    known: '`-chardev`, `-serial`, `-parallel`, virtio-serial',
    options: ['ports'],
    tests: [
      ports('bytes cross a %s port both ways'),
      ports('what the guest prints on a parallel port comes out'),
    ],
  },
  {
    known: '`-rtc`, `-localtime`, `-startdate`',
    options: ['rtc'],
    tests: [machine('its clock begins where it was told')],
  },
  {
    known: '`-monitor`, `-S`, `-gdb`, `-s`, `-d`',
    options: ['debug'],
    tests: [
      host('a debugger finds the processors waiting, and lets them go; QEMU logs what it was told to'),
      host('GDB connects to a unix socket that only the user of the run reaches'),
      host('a command line with -gdb serves it on a port of loopback, and says so'),
    ],
  },
  {
    known: '`-nographic`',
    options: [],
    tests: [['test/guest/serial.test.ts', 'begins with the first byte and is what QEMU wrote to its file']],
  },
  {
    known: '`-curses`, `-sdl`',
    options: ['display'],
    tests: [
      windows('a window of %s on an X server shows the guest'),
      windows('a text screen is drawn on the terminal of the script'),
    ],
  },
  {
    known: '`-vga`',
    options: ['vga'],
    tests: [[`${OPTIONS}/display-cards.test.ts`, 'a guest is seen on its card of the model %s']],
  },
  {
    known: '`-vnc`, `-k`',
    options: ['vnc', 'keyboardLayout'],
    tests: [running('display', 'a viewer of VNC is asked for the password, on the loopback alone')],
  },
  {
    known: '`-spice`',
    options: ['spice'],
    tests: [running('display', 'a client of SPICE is answered on the socket of the run')],
  },
  {
    known: '`-alt-grab`, `-ctrl-grab`',
    options: ['grab'],
    tests: [windows('a window of %s on an X server shows the guest')],
  },
  {
    known: '`-net nic`',
    options: ['network'],
    tests: [CARDS, machine('it has the devices that were asked for')],
  },
  { known: '`-net user`', options: ['network'], tests: [CARDS] },
  {
    known: '`hostfwd=`, `-redir`',
    options: ['hostfwd'],
    tests: [['test/guest/network.test.ts', 'leads to a server in the guest']],
  },
  {
    known: '`guestfwd=`, `smb=`',
    options: ['network'],
    tests: [
      services(
        'a command, a unix socket and a TCP server of the host answer the guest within its closed network',
      ),
      services('a folder of the host is mounted by SMB, read and written'),
    ],
  },
  { known: '`tftp=`, `bootfile=`, `-bootp`', options: ['network'], tests: [NETWORK_BOOT] },
  {
    known: '`-net tap`',
    options: ['network'],
    tests: [
      host('a card is a TAP interface of the host'),
      host('a missing TAP interface is an error before boot'),
    ],
  },
  {
    known: '`-net …,vlan=`, `-net socket`',
    options: ['network'],
    tests: [host('two guests talk by a hub, and by nothing else')],
  },
  {
    known: '`-enable-kvm`, `-no-kvm`',
    options: ['accel'],
    tests: [
      ['test/guest/accelerator.test.ts', "accel: 'kvm' never falls back"],
      ['test/guest/accelerator.test.ts', "accel: 'tcg' does not look at KVM"],
    ],
  },
  {
    known: '`-runas`',
    options: ['runAs'],
    tests: [
      [
        'test/guest/run-as.test.ts',
        'QEMU is that user, with its groups and nothing else, and so is its folder',
      ],
    ],
  },
  {
    known: '`-mem-path` of huge pages, `-mem-prealloc`',
    options: ['memory'],
    tests: [
      host('RAM on huge pages is so where the host has some, and an error where it has none'),
      host('RAM is given at the start, on pages that are not merged'),
    ],
  },
  {
    known: 'NUMA bound to the host',
    options: ['numa', 'memory'],
    tests: [machine("the memory of its nodes comes from those of this host's that were said")],
  },
  {
    known: '`-balloon`',
    options: ['balloon'],
    tests: [running('plug', 'the balloon takes memory from the guest and gives it back')],
  },
  {
    known: 'KSM',
    options: ['memory'],
    tests: [host('RAM is given at the start, on pages that are not merged')],
  },
  {
    known: '`-snapshot`',
    options: ['image', 'disks'],
    tests: [
      [
        'test/guest/base-image.test.ts',
        'the base image is the same to the last bit after runs that were killed at random moments',
      ],
    ],
  },
  {
    known: '`savevm`, `-loadvm`',
    options: ['start'],
    tests: [
      [
        'test/guest/warm/checkpoint.test.ts',
        'restoring a checkpoint restores RAM and disk, and keeps the clock correct',
      ],
    ],
  },
  {
    known: '`qemu-system-…` of another architecture',
    options: ['arch'],
    tests: [
      architectures('tiny', 'tiny for %s is reached by SSH, by its agent and on its console'),
      architectures(
        'firmware',
        'the firmware of a machine %s comes to its prompt, and answers on the console',
      ),
      architectures('machines', 'QEMU takes all that a machine for %s may have'),
    ],
  },
  {
    known: 'virt-install, virsh',
    options: ['libvirtXML'],
    tests: [
      [
        'test/guest/libvirt/domains.test.ts',
        'the domain kernel-initrd of virt-install boots, and is reached by SSH',
      ],
    ],
  },
  {
    known: '`.vdi`, `.vmdk`, `.ova`',
    options: ['image'],
    tests: [['test/guest/image-formats.test.ts', 'a .%s boots']],
  },
  {
    known: '`qemu-kvm [options] disk_image`',
    options: ['commandLine'],
    tests: [NETWORK_BOOT, line('a line of old spellings runs a guest, whose options beside it count')],
  },
]
