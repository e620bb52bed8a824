/** Packages expected in a test guest, in addition to those that Debian requires. */
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

/** Packages that build the boot loader. They are unpacked during the build and not installed. */
export const LOADER_PACKAGES: readonly string[] = [
  'grub-common',
  'grub-pc-bin',
  'grub-efi-amd64-bin',
  'libdevmapper1.02.1',
  'mtools',
]

/** Drivers for the root disk, the network and the ports of withvm, loaded first. */
export const BOOT_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
]

/** Documentation and translations, which a test guest does not need. */
export const EXCLUDED_PATHS: readonly string[] = [
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/info/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
]
