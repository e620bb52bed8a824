import type { VMOptions } from '../options.js'
import type { Report } from './report.js'

/** Reports display options that conflict. */
export function findDisplayConflicts(options: VMOptions, report: Report): void {
  const { vnc, spice, display, grab, vga, runAs } = options
  if (typeof vnc === 'object' && vnc.socket !== undefined) {
    for (const name of ['display', 'bind'] as const) {
      if (vnc[name] === undefined) continue
      report(`vnc.${name}`, 'both', `only one of \`vnc.${name}\` and \`vnc.socket\``)
    }
    if (vnc.websocket !== undefined && vnc.websocket !== false) {
      report(
        'vnc.websocket',
        `${vnc.websocket} together with \`vnc.socket\``,
        '`vnc.display` instead of `vnc.socket` (a WebSocket requires a port)',
      )
    }
  }
  if (typeof spice === 'object' && spice.bind !== undefined && spice.port === undefined) {
    report(
      'spice.bind',
      `"${spice.bind}"`,
      '`spice.port` to be set too (by default, SPICE listens on a unix socket)',
    )
  }
  if (grab !== undefined && display !== 'sdl') {
    report('grab', `'${grab}'`, "`display: 'sdl'` to be set too (other windows have fixed keys)")
  }
  if (display === 'curses' && runAs !== undefined) {
    const reason = 'the other user could read this terminal and type commands into its shell'
    report('display', "'curses' together with `runAs`", `\`vnc: true\`, or no \`runAs\` (${reason})`)
  }
  const shown = [
    ['display', display !== undefined && display !== 'none'],
    ['vnc', vnc !== undefined && vnc !== false],
    ['spice', spice !== undefined && spice !== false],
  ] as const
  const users = shown.filter(([, isOn]) => isOn).map(([name]) => `\`${name}\``)
  if (vga === 'none' && users.length > 0) {
    report('vga', `'none' together with ${users.join(' and ')}`, "a graphics card such as 'std'")
  }
}
