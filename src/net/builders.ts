import type { NetbootFile, NetbootOptions } from '../spec/netboot.js'
import type { BootEntry, BootMenu } from './loader-configs.js'
import { formatGrubConfig, formatIpxeScript, formatPxelinuxConfig } from './loader-configs.js'

/** Protocol for downloading kernel and initrd. HTTP is faster for large files. */
type Via = 'tftp' | 'http'

/** Kernel, stored on the host, that the boot loader of a network boot downloads and starts. */
export interface KernelOptions {
  /** Path of the kernel on the host. */
  readonly kernel: string
  /** Path of the initrd on the host. @default none */
  readonly initrd?: string | undefined
  /** Kernel arguments. @default none */
  readonly append?: string | undefined
  /** Protocol for downloading kernel and initrd. HTTP is faster for large files. @default 'tftp' */
  readonly via?: Via | undefined
}

/**
 * Configuration of a boot loader: one kernel, a menu of several, or your own configuration file.
 */
export interface LoaderOptions extends Partial<KernelOptions> {
  /** Menu entries. @default one entry with `kernel`, `initrd` and `append` */
  readonly entries?: ReadonlyArray<Omit<KernelOptions, 'via'> & { readonly label: string }> | undefined
  /**
   * Title of a menu that waits for a key.
   * @default a menu without a title if there are several entries, else no menu
   */
  readonly menu?: string | undefined
  /** Seconds without a key after which the menu starts the first entry. @default no limit */
  readonly menuSeconds?: number | undefined
  /**
   * Configuration file of the loader, instead of a generated one.
   * @default generated from the options above
   */
  readonly config?: NetbootFile | undefined
  /**
   * Configuration files for guests with these MAC addresses, instead of the common one.
   * @default none
   */
  readonly byMac?: Readonly<Record<string, NetbootFile>> | undefined
  /** Configuration files for guests with these UUIDs, instead of the common one. @default none */
  readonly byUuid?: Readonly<Record<string, NetbootFile>> | undefined
  /** Additional files to serve. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>> | undefined
}

/** Options of `netboot.grub()`. */
export interface GrubOptions extends LoaderOptions {
  /** Firmware for which the DHCP server names a GRUB image. @default 'bios' */
  readonly firmware?: 'bios' | 'uefi' | undefined
}

/** Options of `netboot.debianInstaller()`. */
export interface DebianInstallerOptions {
  /**
   * Architecture of the installer, equal to the guest's `arch`. `'aarch64'` requires UEFI.
   * @default 'x86_64'
   */
  readonly arch?: 'x86_64' | 'i386' | 'aarch64' | 'amd64' | 'arm64' | undefined
  /**
   * Kernel arguments such as `console=ttyS0`. The installer then starts without a menu.
   * @default none: the menu of the package is shown
   */
  readonly append?: string | undefined
  /** Preseed file with answers for the installer, which downloads it over HTTP. @default none */
  readonly preseed?: NetbootFile | undefined
  /** Protocol for downloading kernel and initrd. HTTP is faster for large files. @default 'tftp' */
  readonly via?: Via | undefined
  /** Additional files to serve. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>> | undefined
}

/** Debian's names of the supported architectures of its netboot installer. */
const INSTALLERS = {
  x86_64: 'amd64',
  amd64: 'amd64',
  i386: 'i386',
  aarch64: 'arm64',
  arm64: 'arm64',
} as const

/** Default URL of the HTTP server in the guest's network. */
const HTTP_URL = 'http://10.0.2.80'

/**
 * Builds values of the option `netboot`. They are plain objects and can be extended: `{
 * ...netboot.pxelinux(…), once: true }`.
 */
export const netboot = {
  /**
   * Boots with PXELINUX. Requires BIOS firmware.
   * @example netboot: netboot.pxelinux({ kernel, initrd, append: 'console=ttyS0' })
   */
  pxelinux(options: LoaderOptions): NetbootOptions {
    const { via = 'tftp' } = options
    const { menu, files } = collectEntries(options)
    return {
      trees: ['pxelinux'],
      // pxelinux.0 does not support HTTP.
      bootfile: via === 'http' ? 'lpxelinux.0' : 'pxelinux.0',
      ...httpIf(via === 'http'),
      files: {
        ...files,
        'pxelinux.cfg/default': options.config ?? formatPxelinuxConfig(menu, prefixOf(via)),
        ...byClient('pxelinux.cfg/', options),
        ...options.files,
      },
    }
  },

  /**
   * Boots with an iPXE script, on BIOS and UEFI. iPXE is in the boot ROMs of QEMU's network cards.
   * @example netboot: netboot.ipxe('#!ipxe\nkernel linux console=ttyS0\nboot')
   */
  ipxe(
    script: NetbootFile,
    {
      via = 'tftp',
      files,
    }: { readonly via?: Via | undefined; readonly files?: NetbootOptions['files'] | undefined } = {},
  ): NetbootOptions {
    const isHttp = via === 'http'
    return {
      bootfile: isHttp ? `${HTTP_URL}/boot.ipxe` : 'boot.ipxe',
      ...httpIf(isHttp),
      files: { 'boot.ipxe': script, ...files },
    }
  },

  /**
   * Boots a kernel directly with the iPXE of the firmware, without another boot loader.
   * @example netboot: netboot.kernel({ kernel, initrd, append: 'console=ttyS0', via: 'http' })
   */
  kernel({ kernel, initrd, append, via = 'tftp' }: KernelOptions): NetbootOptions {
    const entry = { label: 'linux', kernel: 'linux', initrd: initrd && 'initrd', append }
    return {
      bootfile: 'boot.ipxe',
      ...httpIf(via === 'http'),
      files: {
        'boot.ipxe': formatIpxeScript(entry, prefixOf(via)),
        linux: { path: kernel },
        ...(initrd === undefined ? {} : { initrd: { path: initrd } }),
      },
    }
  },

  /**
   * Boots with GRUB, on BIOS or UEFI.
   * @example netboot: netboot.grub({ config: 'linux /linux\nboot', firmware: 'uefi' })
   */
  grub(options: GrubOptions): NetbootOptions {
    const { firmware = 'bios', via = 'tftp' } = options
    const { menu, files } = collectEntries(options)
    return {
      trees: ['grub'],
      bootfile: firmware === 'uefi' ? 'grub/x86_64-efi/core.efi' : 'grub/i386-pc/core.0',
      ...httpIf(via === 'http'),
      files: {
        ...files,
        'grub/grub.cfg': options.config ?? formatGrubConfig(menu, grubPrefixOf(via)),
        ...byClient('grub/grub.cfg-', options),
        ...options.files,
      },
    }
  },

  /**
   * Boots Debian's installer: with the menu of its package, or at once if `append` or `preseed` is
   * set.
   * @example netboot: netboot.debianInstaller({ append: 'console=ttyS0', preseed: 'd-i …' })
   */
  debianInstaller(options: DebianInstallerOptions = {}): NetbootOptions {
    const { arch = 'x86_64', append, preseed, via = 'tftp', files } = options
    const below = `debian-installer/${INSTALLERS[arch]}`
    const isArm = INSTALLERS[arch] === 'arm64'
    const answers = preseed === undefined ? [] : ['auto=true', `url=${HTTP_URL}/preseed.cfg`]
    const entry = {
      label: 'install',
      kernel: `${below}/linux`,
      initrd: `${below}/initrd.gz`,
      append: [append, ...answers].filter((part) => part !== undefined).join(' '),
    }
    const isHttp = via === 'http'
    const isMenu = append === undefined && preseed === undefined
    const menu = isMenu ? { entries: installerMenu(entry), title: '' } : { entries: [entry] }
    const config: Readonly<Record<string, NetbootFile>> = isArm
      ? { [`${below}/grub/grub.cfg`]: formatGrubConfig(menu, grubPrefixOf(via)) }
      : { 'pxelinux.cfg/default': formatPxelinuxConfig(menu, prefixOf(via)) }
    // The menu of the package works with both protocols in PXELINUX, which loads files relative to
    // itself. GRUB needs URLs.
    const isGenerated = !isMenu || (isArm && isHttp)
    const pxelinux = isHttp ? `${isMenu ? `${HTTP_URL}/` : ''}lpxelinux.0` : 'pxelinux.0'
    return {
      trees: isHttp && !isArm ? ['debian-netboot', 'pxelinux'] : ['debian-netboot'],
      bootfile: isArm ? `${below}/bootnetaa64.efi` : pxelinux,
      ...httpIf(isHttp || preseed !== undefined),
      files: {
        ...(isGenerated ? config : {}),
        ...(preseed === undefined ? {} : { 'preseed.cfg': preseed }),
        ...files,
      },
    }
  },
} as const

/** Menu entries of the installer package. */
function installerMenu(entry: BootEntry): BootEntry[] {
  return [
    { ...entry, label: 'Install', append: '--- quiet' },
    { ...entry, label: 'Expert install', append: 'priority=low ---' },
    { ...entry, label: 'Rescue mode', append: 'rescue/enable=true --- quiet' },
    { ...entry, label: 'Automated install', append: 'auto=true priority=critical --- quiet' },
  ]
}

function httpIf(isHttp: boolean): Pick<NetbootOptions, 'http'> {
  return isHttp ? { http: true } : {}
}

function grubPrefixOf(via: Via): string {
  return via === 'http' ? '(http,10.0.2.80)/' : '/'
}

function prefixOf(via: Via): string {
  return via === 'http' ? `${HTTP_URL}/` : ''
}

/** Returns the menu with server paths, and the files to serve at these paths. */
function collectEntries({ entries, kernel, initrd, append, menu, menuSeconds }: LoaderOptions): {
  readonly menu: BootMenu
  readonly files: Readonly<Record<string, NetbootFile>>
} {
  const single = kernel === undefined ? [] : [{ label: 'linux', kernel, initrd, append }]
  const files: Record<string, NetbootFile> = {}
  const entriesWithPaths = (entries ?? single).map((entry): BootEntry => {
    const folder = entries === undefined ? '' : `${entry.label}/`
    files[`${folder}linux`] = { path: entry.kernel }
    if (entry.initrd !== undefined) files[`${folder}initrd`] = { path: entry.initrd }
    return {
      label: entry.label,
      kernel: `${folder}linux`,
      initrd: entry.initrd && `${folder}initrd`,
      append: entry.append,
    }
  })
  const title = menu ?? (entriesWithPaths.length > 1 ? '' : undefined)
  return { menu: { entries: entriesWithPaths, title, seconds: menuSeconds }, files }
}

/**
 * Returns configuration files by client. Loaders look for the UUID and for the MAC address with the
 * prefix `01-` (Ethernet).
 */
function byClient(prefix: string, { byMac = {}, byUuid = {} }: LoaderOptions): Record<string, NetbootFile> {
  const macs = Object.entries(byMac).map(
    ([mac, config]) => [`01-${mac.replaceAll(':', '-')}`, config] as const,
  )
  const all = [...macs, ...Object.entries(byUuid)]
  return Object.fromEntries(all.map(([name, config]) => [prefix + name.toLowerCase(), config]))
}
