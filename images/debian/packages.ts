/** What a machine for tests is expected to have, beside what Debian calls required. */
export const PACKAGES: readonly string[] = [
  'linux-image-cloud-amd64',
  'systemd-sysv',
  'libpam-systemd',
  'libnss-myhostname',
  'libnss-systemd',
  'dbus',
  'udev',
  'kmod',
  'openssh-server',
  'openssh-sftp-server',
  'qemu-guest-agent',
  'iproute2',
  'iputils-ping',
  'netbase',
  'ca-certificates',
  'curl',
  'sudo',
  'procps',
  'less',
]

/** Programs that make the boot loader: they are unpacked while the image is built, and not in it. */
export const LOADER_PACKAGES: readonly string[] = [
  'grub-common',
  'grub-pc-bin',
  'grub-efi-amd64-bin',
  'libdevmapper1.02.1',
  'mtools',
]

/** Drivers for the root disk, the network and the ports of the harness: loaded before anything else. */
export const BOOT_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
]

/** What of packages is documentation or speaks other languages: nobody reads it in a guest for tests. */
export const LEFT_OUT: readonly string[] = [
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/info/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
]
