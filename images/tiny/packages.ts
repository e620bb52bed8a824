import type { Distribution } from '../../src/image/distribution.js'

/** The packages whose files the guest gets, by what they are for. */
export function listPackages(distribution: Distribution): string[] {
  // The virtual machines' flavour of each: the least hardware drivers, so the least to start.
  const kernel = distribution.id === 'debian' ? 'linux-image-cloud-amd64' : 'linux-image-virtual'
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

/** Drivers for the root disk and the network: loaded before anything else. */
export const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net']
