import { code, table } from './markdown.mjs'

/** Renders the defaults of each architecture from the table that resolves them. */
export function architecturesTable({ ARCHITECTURES, DEBIAN_NAMES, qemuPackage, RECIPES }) {
  const head = [
    '`arch`',
    'machine',
    'boots with',
    'console',
    'network card',
    'disk interfaces',
    'CPU under TCG',
    'images',
    'QEMU package',
  ]
  const rows = Object.entries(ARCHITECTURES).map(([arch, row]) => {
    const other = Object.entries(DEBIAN_NAMES).find(([, name]) => name === arch)?.[0]
    const images = Object.values(RECIPES).filter(({ architectures }) => architectures.includes(arch))
    const ways = [...(row.hasOwnFirmware ? ["'bios'"] : ['a `kernel`']), ...(row.hasUefi ? ["'uefi'"] : [])]
    return [
      [arch, ...(other === undefined ? [] : [other])].map(code).join(', '),
      code(row.machine),
      ways.map((way) => (way.startsWith("'") ? code(way) : way)).join(', '),
      code(row.console),
      `${code(row.card.model)}${row.card.isOnBoard ? ' (on-board)' : ''}`,
      row.disks.map(code).join(', '),
      row.cpu.tcg === undefined ? 'machine default' : code(row.cpu.tcg),
      images.map(({ name }) => code(name)).join(', ') || 'none',
      code(qemuPackage(arch, 'apt')),
    ]
  })
  return table(head, rows)
}
