import type { Distribution } from '../../src/packages/distribution.js'
import type { GuestArch } from '../../src/spec/architectures.js'

/** The virtual machines' flavour, where there is one: the least hardware drivers, so the least to start. */
const DEBIAN_KERNELS: Partial<Record<GuestArch, string>> = {
  x86_64: 'linux-image-cloud-amd64',
  i386: 'linux-image-686',
  aarch64: 'linux-image-cloud-arm64',
  arm: 'linux-image-armmp',
  riscv64: 'linux-image-riscv64',
  ppc64: 'linux-image-powerpc64le',
  s390x: 'linux-image-s390x',
}

/** The packages whose files the guest gets, by what they are for. */
export function listPackages(distribution: Distribution, arch: GuestArch): string[] {
  const kernel = (distribution.id === 'debian' ? DEBIAN_KERNELS[arch] : undefined) ?? 'linux-image-virtual'
  return [kernel, 'busybox-static', 'dropbear-bin', 'openssh-sftp-server', 'qemu-guest-agent']
}

/**
 * Of what those depend on, only the kernel behind its meta-package and shared libraries are wanted: not what
 * installing them on a real system would need.
 */
export function isWantedDependency(packageName: string): boolean {
  return (
    /^(linux-(image|modules)-|lib|zlib)/.test(packageName) &&
    !/^lib(perl|kmod|pam|semanage)/.test(packageName)
  )
}

/** Programs of the packages, with the place where the guest expects them. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  dropbear: '/usr/sbin/dropbear',
  dropbearkey: '/usr/bin/dropbearkey',
  'sftp-server': '/usr/lib/openssh/sftp-server',
  'qemu-ga': '/usr/sbin/qemu-ga',
}

/** Drivers for the root disk, its file system with its checksums, and the network: loaded before anything else. What a kernel has built in is left out. */
export const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'crc32c_generic', 'ext4']
