/** Kernel of a boot loader, with paths on the server. */
export interface BootEntry {
  readonly label: string
  readonly kernel: string
  readonly initrd?: string | undefined
  readonly append?: string | undefined
}

export interface BootMenu {
  readonly entries: readonly BootEntry[]
  /** Title of the menu; may be empty. If undefined, the first entry starts without a menu. */
  readonly title?: string | undefined
  /** Seconds after which the first entry starts. If undefined, the menu waits indefinitely. */
  readonly seconds?: number | undefined
}

/** @param prefix prefix of each path, such as `http://10.0.2.80/`. */
export function formatPxelinuxConfig({ entries, title, seconds }: BootMenu, prefix: string): string {
  const menu =
    title === undefined
      ? ['prompt 0', `default ${entries[0]?.label}`]
      : [
          'ui menu.c32',
          ...(title === '' ? [] : [`menu title ${title}`]),
          // In tenths of a second; 0 disables the timeout.
          `timeout ${Math.round((seconds ?? 0) * 10)}`,
        ]
  const labels = entries.map(({ label, kernel, initrd, append }) =>
    [
      `label ${label}`,
      `  kernel ${prefix}${kernel}`,
      ...(initrd === undefined ? [] : [`  initrd ${prefix}${initrd}`]),
      ...(append === undefined || append === '' ? [] : [`  append ${append}`]),
    ].join('\n'),
  )
  return [...menu, ...labels, ''].join('\n')
}

/** Returns a script that starts one kernel. */
export function formatIpxeScript({ kernel, initrd, append }: BootEntry, prefix: string): string {
  // Under UEFI, the kernel finds its initrd by name.
  const words = [prefix + kernel, ...(initrd === undefined ? [] : [`initrd=${initrd}`]), append]
  return [
    '#!ipxe',
    `kernel ${words.filter((word) => word !== undefined && word !== '').join(' ')}`,
    ...(initrd === undefined ? [] : [`initrd --name ${initrd} ${prefix}${initrd}`]),
    'boot',
    '',
  ].join('\n')
}

export function formatGrubConfig({ entries, title, seconds }: BootMenu, prefix: string): string {
  const timeout = title === undefined ? 0 : (seconds ?? -1)
  const labels = entries.map(({ label, kernel, initrd, append }) =>
    [
      `menuentry '${label.replaceAll("'", "'\\''")}' {`,
      `  linux ${prefix}${kernel}${append === undefined ? '' : ` ${append}`}`,
      ...(initrd === undefined ? [] : [`  initrd ${prefix}${initrd}`]),
      '}',
    ].join('\n'),
  )
  return [`set timeout=${timeout}`, ...labels, ''].join('\n')
}
