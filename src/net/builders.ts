import type { NetbootFile, NetbootOptions } from '../spec/netboot.js'
import type { BootEntry, BootMenu } from './loader-configs.js'
import { formatGrubConfig, formatIpxeScript, formatPxelinuxConfig } from './loader-configs.js'

/** What of the network the kernel and the initrd come by. HTTP is faster for large files. */
type Via = 'tftp' | 'http'

/** A kernel of this host, for a boot loader to start. */
export interface KernelOptions {
  /** The path of a kernel on this host. */
  readonly kernel: string
  /** The path of its initrd on this host. @default none */
  readonly initrd?: string
  /** Its arguments. @default none */
  readonly append?: string
  /** How they are fetched. @default 'tftp' */
  readonly via?: Via
}

/** Several kernels, or one, or a configuration of the author's own. */
export interface LoaderOptions extends Partial<KernelOptions> {
  /** The entries of a menu. @default one, of `kernel`, `initrd` and `append` */
  readonly entries?: ReadonlyArray<Omit<KernelOptions, 'via'> & { readonly label: string }>
  /** Shows a menu with this title, and waits for a key. @default where there are several entries, without a title */
  readonly menu?: string
  /** After how many seconds without a key the first entry is started. @default never where there is a menu */
  readonly menuSeconds?: number
  /** The configuration, in place of one that is made of the above. @default none */
  readonly config?: NetbootFile
  /** Configurations for machines with these addresses of their cards, in place of the one for all. @default none */
  readonly byMac?: Readonly<Record<string, NetbootFile>>
  /** Configurations for machines with these UUIDs. @default none */
  readonly byUuid?: Readonly<Record<string, NetbootFile>>
  /** More files. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>>
}

export interface GrubOptions extends LoaderOptions {
  /** Which GRUB the DHCP server names. @default 'bios' */
  readonly firmware?: 'bios' | 'uefi'
}

export interface DebianInstallerOptions {
  /** What machine it is for, as the guest's own `arch` says: a PC, or `'aarch64'`, which boots it by UEFI. @default 'x86_64' */
  readonly arch?: 'x86_64' | 'i386' | 'aarch64' | 'amd64' | 'arm64'
  /** Kernel arguments such as `console=ttyS0`, with which the installer starts without a menu. @default the menu of the package */
  readonly append?: string
  /** Answers to the installer's questions, which it gets by HTTP once its network is up. @default none */
  readonly preseed?: NetbootFile
  /** How kernel and initrd are fetched. @default 'tftp' */
  readonly via?: Via
  /** More files. @default none */
  readonly files?: Readonly<Record<string, NetbootFile>>
}

/** What Debian calls the machines for which it has an installer that boots from the network here. */
const INSTALLERS = {
  x86_64: 'amd64',
  amd64: 'amd64',
  i386: 'i386',
  aarch64: 'arm64',
  arm64: 'arm64',
} as const

/** Where the loaders find the server for HTTP, unless the author moves it. */
const HTTP_URL = 'http://10.0.2.80'

/** Makes what `netboot` is to be: a plain object, to which more can be added by `{ ...netboot.pxelinux(…), once: true }`. */
export const netboot = {
  /**
   * PXELINUX, for BIOS.
   * @example netboot: netboot.pxelinux({ kernel, initrd, append: 'console=ttyS0' })
   */
  pxelinux(options: LoaderOptions): NetbootOptions {
    const { via = 'tftp' } = options
    const { menu, files } = collectEntries(options)
    return {
      trees: ['pxelinux'],
      // Only this one knows HTTP.
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
   * A script for iPXE, which is in the boot ROMs of QEMU's cards, for BIOS and UEFI.
   * @example netboot: netboot.ipxe('#!ipxe\nkernel linux console=ttyS0\nboot')
   */
  ipxe(
    script: NetbootFile,
    { via = 'tftp', files }: { readonly via?: Via; readonly files?: NetbootOptions['files'] } = {},
  ): NetbootOptions {
    const isHttp = via === 'http'
    return {
      bootfile: isHttp ? `${HTTP_URL}/boot.ipxe` : 'boot.ipxe',
      ...httpIf(isHttp),
      files: { 'boot.ipxe': script, ...files },
    }
  },

  /**
   * A kernel without a loader of its own: the firmware's iPXE starts it.
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
   * GRUB, for BIOS or UEFI.
   * @example netboot: netboot.grub({ config: 'menuentry demo { linux /linux console=ttyS0 }', firmware: 'uefi' })
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
   * Debian's installer, with the menu of its package, or with `append` at once.
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
    // PXELINUX fetches all else from where it came, so the menu of the package serves for both ways. GRUB's names its server.
    const isOwn = !isMenu || (isArm && isHttp)
    const pxelinux = isHttp ? `${isMenu ? `${HTTP_URL}/` : ''}lpxelinux.0` : 'pxelinux.0'
    return {
      trees: isHttp && !isArm ? ['debian-netboot', 'pxelinux'] : ['debian-netboot'],
      bootfile: isArm ? `${below}/bootnetaa64.efi` : pxelinux,
      ...httpIf(isHttp || preseed !== undefined),
      files: {
        ...(isOwn ? config : {}),
        ...(preseed === undefined ? {} : { 'preseed.cfg': preseed }),
        ...files,
      },
    }
  },
} as const

/** The entries that the menus of the installer's package have. */
function installerMenu(entry: BootEntry): BootEntry[] {
  return [
    { ...entry, label: 'Install', append: '--- quiet' },
    { ...entry, label: 'Expert install', append: 'priority=low ---' },
    { ...entry, label: 'Rescue mode', append: 'rescue/enable=true --- quiet' },
    { ...entry, label: 'Automated install', append: 'auto=true priority=critical --- quiet' },
  ]
}

function httpIf(isWanted: boolean): Pick<NetbootOptions, 'http'> {
  return isWanted ? { http: true } : {}
}

function grubPrefixOf(via: Via): string {
  return via === 'http' ? '(http,10.0.2.80)/' : '/'
}

function prefixOf(via: Via): string {
  return via === 'http' ? `${HTTP_URL}/` : ''
}

/** The entries by the names under which their files are served, and those files. */
function collectEntries({ entries, kernel, initrd, append, menu, menuSeconds }: LoaderOptions): {
  readonly menu: BootMenu
  readonly files: Readonly<Record<string, NetbootFile>>
} {
  const single = kernel === undefined ? [] : [{ label: 'linux', kernel, initrd, append }]
  const files: Record<string, NetbootFile> = {}
  const named = (entries ?? single).map((entry): BootEntry => {
    const place = entries === undefined ? '' : `${entry.label}/`
    files[`${place}linux`] = { path: entry.kernel }
    if (entry.initrd !== undefined) files[`${place}initrd`] = { path: entry.initrd }
    return {
      label: entry.label,
      kernel: `${place}linux`,
      initrd: entry.initrd && `${place}initrd`,
      append: entry.append,
    }
  })
  const title = menu ?? (named.length > 1 ? '' : undefined)
  return { menu: { entries: named, title, seconds: menuSeconds }, files }
}

/** Both loaders look first for the machine's UUID, and for its card behind the number of Ethernet. */
function byClient(prefix: string, { byMac = {}, byUuid = {} }: LoaderOptions): Record<string, NetbootFile> {
  const macs = Object.entries(byMac).map(
    ([mac, config]) => [`01-${mac.replaceAll(':', '-')}`, config] as const,
  )
  const all = [...macs, ...Object.entries(byUuid)]
  return Object.fromEntries(all.map(([name, config]) => [prefix + name.toLowerCase(), config]))
}
