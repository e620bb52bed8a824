import type { VMOptions } from '../options.js'
import type { Report } from './report.js'

/** What of the display cannot be together. */
export function findDisplayConflicts<VM>(options: VMOptions<VM>, report: Report): void {
  const { vnc, spice, display, grab, vga } = options
  if (typeof vnc === 'object' && vnc.socket !== undefined) {
    for (const name of ['display', 'bind'] as const) {
      if (vnc[name] === undefined) continue
      report(`vnc.${name}`, `${JSON.stringify(vnc[name])} beside \`vnc.socket\``, 'one of both')
    }
    if (vnc.websocket !== undefined && vnc.websocket !== false) {
      report(
        'vnc.websocket',
        `${vnc.websocket} beside \`vnc.socket\``,
        'a `vnc.display`: websockets have ports',
      )
    }
  }
  if (typeof spice === 'object' && spice.bind !== undefined && spice.port === undefined) {
    report('spice.bind', `"${spice.bind}"`, '`spice.port` beside it: without one it is a unix socket')
  }
  if (grab !== undefined && display !== 'sdl') {
    report('grab', `'${grab}'`, "display: 'sdl' beside it: QEMU's other windows have keys of their own")
  }
  const shown = [
    ['display', display !== undefined && display !== 'none'],
    ['vnc', vnc !== undefined && vnc !== false],
    ['spice', spice !== undefined && spice !== false],
  ] as const
  const showing = shown.filter(([, isOn]) => isOn).map(([name]) => `\`${name}\``)
  if (vga === 'none' && showing.length > 0) {
    report('vga', `'none' beside ${showing.join(' and ')}`, "a card to show something of, such as 'std'")
  }
}
