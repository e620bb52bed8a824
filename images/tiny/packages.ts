import type { Distribution } from '../../src/packages/distribution.js'
import type { GuestArch } from '../../src/spec/architectures.js'

/**
 * Kernels for virtual machines if available: they have the fewest hardware drivers and boot
 * fastest.
 */
const DEBIAN_KERNELS: Partial<Record<GuestArch, string>> = {
  x86_64: 'linux-image-cloud-amd64',
  i386: 'linux-image-686',
  aarch64: 'linux-image-cloud-arm64',
  arm: 'linux-image-armmp',
  riscv64: 'linux-image-riscv64',
  ppc64: 'linux-image-powerpc64le',
  s390x: 'linux-image-s390x',
}

/** Returns the packages whose files are installed in the guest. */
export function listPackages(distribution: Distribution, arch: GuestArch): string[] {
  const kernel = (distribution.id === 'debian' ? DEBIAN_KERNELS[arch] : undefined) ?? 'linux-image-virtual'
  return [kernel, 'busybox-static', 'dropbear-bin', 'openssh-sftp-server', 'qemu-guest-agent']
}

/**
 * Returns true if a dependency is needed: only the kernel of a meta-package and shared libraries
 * are, not packages for an installation on a real system.
 */
export function isWantedDependency(packageName: string): boolean {
  return (
    /^(linux-(image|modules)-|lib|zlib)/.test(packageName) &&
    !/^lib(perl|kmod|pam|semanage)/.test(packageName)
  )
}

/** Programs of the packages, with their paths in the guest. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  dropbear: '/usr/sbin/dropbear',
  dropbearkey: '/usr/bin/dropbearkey',
  'sftp-server': '/usr/lib/openssh/sftp-server',
  'qemu-ga': '/usr/sbin/qemu-ga',
}

/**
 * Drivers for root disk, file system with checksums, and network, loaded first. Those built into
 * the kernel are skipped.
 */
export const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'crc32c_generic', 'ext4']
