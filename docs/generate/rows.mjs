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
const SYSTEM_DISK = disks('the firmware boots from a system disk on %s, %j')
const FITTED = machine('the guest has the specified processors, NUMA nodes and memory')
const CARDS = machine('each network card has its own network, with the specified addresses')
const NETWORK_BOOT = line(
  'a QEMU command line with an empty disk and a TFTP folder boots from the network through the default card',
)

/**
 * Arguments of qemu-kvm, each with its options and with the tests that start QEMU and verify the effect. A test is
 * identified by its file and title. An argument without a test has a `gap`.
 *
 * @type {Array<{ known: string, options: string[], tests?: Array<[file: string, title: string]>, gap?: string }>}
 */
export const ROWS = [
  {
    known: '`-name`',
    options: ['name'],
    tests: [['test/guest/resources.test.ts', 'a guest has the specified CPUs, memory and name']],
  },
  {
    known: '`-uuid`, `-smbios`',
    options: ['smbios'],
    tests: [machine('the guest reports the specified SMBIOS values')],
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
    tests: [host('a kernel is booted directly with an initrd and arguments'), LISTED],
  },
  { known: '`-smp`', options: ['cpus'], tests: [FITTED] },
  { known: '`-numa`', options: ['numa'], tests: [FITTED] },
  {
    known: '`-fda`, `-fdb`',
    options: ['fda', 'fdb'],
    tests: [disks('the firmware of a %s machine boots from a floppy disk')],
  },
  {
    known: '`-hda` … `-hdd`, a disk image alone',
    options: ['hda', 'hdb', 'hdc', 'hdd'],
    tests: [NETWORK_BOOT],
  },
  {
    known: '`-cdrom`',
    options: ['cdrom'],
    tests: [disks('the boot order selects the device to boot from')],
  },
  {
    known: '`-drive`',
    options: ['disks', 'systemDisk', 'image'],
    tests: [
      SYSTEM_DISK,
      disks('the content of a pflash disk replaces the firmware'),
      disks('writes to a disk go to an overlay, or to the image file with `snapshot: false`'),
    ],
  },
  { known: '`-boot`', options: ['boot', 'bootOnce', 'bootMenu'], tests: [NETWORK_BOOT] },
  {
    known: '`-kernel`, `-initrd`, `-append`, `-dtb`',
    options: ['kernel', 'initrd', 'append', 'dtb'],
    tests: [host('a kernel is booted directly with an initrd and arguments')],
  },
  {
    known: '`-bios`',
    options: ['firmware'],
    tests: [
      architectures('firmware', 'an %s machine starts U-Boot from a file instead of UEFI'),
      architectures('firmware', 'a command line of qemu-system-%s with -bios runs U-Boot'),
    ],
  },
  {
    known: '`-usb`',
    options: ['usb', 'devices'],
    tests: [machine('the guest has the specified devices')],
  },
  {
    known: '`-chardev`, `-serial`, `-parallel`, virtio-serial',
    options: ['ports'],
    tests: [
      ports('a %s port transfers bytes in both directions'),
      ports('output of the guest to a parallel port is received'),
    ],
  },
  {
    known: '`-rtc`, `-localtime`, `-startdate`',
    options: ['rtc'],
    tests: [machine("the guest's clock starts at the specified time")],
  },
  {
    known: '`-monitor`, `-S`, `-gdb`, `-s`, `-d`',
    options: ['debug'],
    tests: [
      host('GDB finds the vCPUs stopped and continues them, and QEMU writes the selected log items'),
      host('GDB connects to a unix socket that only the user of the run can access'),
      host('a QEMU command line with -gdb serves GDB on a loopback port, and the translation is reported'),
    ],
  },
  {
    known: '`-nographic`',
    options: [],
    tests: [['test/guest/serial.test.ts', 'console log']],
  },
  {
    known: '`-curses`, `-sdl`',
    options: ['display'],
    tests: [
      windows('a %s window on an X server shows the display of the guest'),
      windows('display: curses draws the text screen on the terminal of the script'),
    ],
  },
  {
    known: '`-vga`',
    options: ['vga'],
    tests: [[`${OPTIONS}/display-cards.test.ts`, 'a guest with the display card %s shows its output']],
  },
  {
    known: '`-vnc`, `-k`',
    options: ['vnc', 'keyboardLayout'],
    tests: [running('display', 'VNC requires the password and listens only on loopback addresses')],
  },
  {
    known: '`-spice`',
    options: ['spice'],
    tests: [running('display', 'SPICE accepts clients on the socket in the folder of the run')],
  },
  {
    known: '`-alt-grab`, `-ctrl-grab`',
    options: ['grab'],
    tests: [windows('a %s window on an X server shows the display of the guest')],
  },
  {
    known: '`-net nic`',
    options: ['network'],
    tests: [CARDS, machine('the guest has the specified devices')],
  },
  { known: '`-net user`', options: ['network'], tests: [CARDS] },
  {
    known: '`hostfwd=`, `-redir`',
    options: ['hostfwd'],
    tests: [['test/guest/network.test.ts', 'a forwarded port connects to a server in the guest']],
  },
  {
    known: '`guestfwd=`, `smb=`',
    options: ['network'],
    tests: [
      services(
        'a guest in a closed network reaches a command, a unix socket and a TCP server of the host through guestfwd',
      ),
      services('a guest mounts a folder of the host over SMB, reads from it and writes to it'),
    ],
  },
  { known: '`tftp=`, `bootfile=`, `-bootp`', options: ['network'], tests: [NETWORK_BOOT] },
  {
    known: '`-net tap`',
    options: ['network'],
    tests: [
      host('a network card is connected to a TAP interface of the host'),
      host('a missing TAP interface is rejected before the boot'),
    ],
  },
  {
    known: '`-net …,vlan=`, `-net socket`',
    options: ['network'],
    tests: [['examples/networks.test.ts', 'two guests reach each other through a hub']],
  },
  {
    known: '`-enable-kvm`, `-no-kvm`',
    options: ['accel'],
    tests: [
      ['test/guest/accelerator.test.ts', "accel: 'kvm' never falls back to TCG"],
      ['test/guest/accelerator.test.ts', "accel: 'tcg' does not probe KVM"],
    ],
  },
  {
    known: '`-runas`',
    options: ['runAs'],
    tests: [
      [
        'test/guest/run-as.test.ts',
        'with `runAs`, QEMU and the folder of the run belong to that user, without other groups or privileges',
      ],
    ],
  },
  {
    known: '`-mem-path` of huge pages, `-mem-prealloc`',
    options: ['memory'],
    tests: [
      host('RAM is on huge pages if the host has enough of them, else the option is rejected'),
      host('RAM is preallocated and locked, and its pages are not merged'),
    ],
  },
  {
    known: 'NUMA bound to the host',
    options: ['numa', 'memory'],
    tests: [machine('the memory of NUMA nodes is bound to the specified nodes of the host')],
  },
  {
    known: '`-balloon`',
    options: ['balloon'],
    tests: [running('plug', 'the balloon takes memory from the guest and gives it back')],
  },
  {
    known: 'KSM',
    options: ['memory'],
    tests: [host('RAM is preallocated and locked, and its pages are not merged')],
  },
  {
    known: '`-snapshot`',
    options: ['image', 'disks'],
    tests: [
      [
        'test/guest/base-image.test.ts',
        'runs that are killed at random moments leave the base image bit-identical',
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
      architectures('tiny', 'tiny for %s is reachable over SSH, through its agent and on its console'),
      architectures(
        'firmware',
        'the firmware of a %s machine shows its prompt and executes input from the console',
      ),
      architectures('machines', 'QEMU accepts all devices that withvm supports on %s'),
    ],
  },
  {
    known: 'virt-install, virsh',
    options: ['libvirtXML'],
    tests: [
      [
        'test/guest/libvirt/domains.test.ts',
        'the domain kernel-initrd of virt-install boots and is reachable over SSH',
      ],
    ],
  },
  {
    known: '`.vdi`, `.vmdk`, `.ova`',
    options: ['image'],
    tests: [['test/guest/image-formats.test.ts', 'a .%s image boots']],
  },
  {
    known: '`qemu-kvm [options] disk_image`',
    options: ['commandLine'],
    tests: [
      NETWORK_BOOT,
      line('a QEMU command line with deprecated options starts a guest, and withvm options override it'),
    ],
  },
]
