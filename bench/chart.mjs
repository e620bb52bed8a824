const WIDTH = 760
const LABEL = 300
const BAR = 22
const GAP = 12

/** Draws the durations of cold and warm starts as an SVG: a bar for each, in front of that of raw QEMU. */
export function drawChart({ accelerator, boot, warm, standby, ten, 'own-image': own }) {
  const rows = [
    boot && { label: 'cold boot, first SSH result', ours: boot.result.oursMs, raw: boot.result.rawMs },
    warm && { label: 'warm start, first SSH result', ours: warm.ssh.oursMs, raw: warm.ssh.rawMs },
    warm && { label: 'warm start, first agent result', ours: warm.agent.oursMs, raw: warm.agent.rawMs },
    standby && { label: 'standby, first SSH result', ours: standby.ssh.oursMs },
    standby && { label: 'standby, first agent result', ours: standby.agent.oursMs },
    own && { label: 'own Debian disk, warm, first SSH result', ours: own.ssh.warmMs },
    own && { label: 'own Debian disk, standby, first SSH result', ours: own.standby.ssh.oursMs },
    ten && { label: 'a test of ten, cold', ours: ten[1].coldMs / 10 },
    ten && { label: 'a test of ten, warm', ours: ten[1].warmMs / 10 },
  ].filter(Boolean)
  const longest = Math.max(...rows.flatMap(({ ours, raw = 0 }) => [ours, raw]))
  const scale = (WIDTH - LABEL - 90) / longest
  const bars = rows.map((row, index) => drawRow(row, 52 + index * (BAR + GAP), scale))
  const height = 60 + rows.length * (BAR + GAP)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="14">
  <title>Milliseconds to the first result in a fresh guest, cold and warm</title>
  <rect width="100%" height="100%" fill="#ffffff"/>
  <text x="16" y="26" font-weight="600" fill="#1f2328">Milliseconds to the first result in a fresh guest (${accelerator.toUpperCase()})</text>
  <text x="${WIDTH - 16}" y="26" text-anchor="end" fill="#59636e"><tspan fill="#0969da">■</tspan> withvm  <tspan fill="#d1d9e0">■</tspan> raw QEMU</text>
${bars.join('\n')}
</svg>
`
}

function drawRow({ label, ours, raw }, y, scale) {
  const width = (value) => Math.max(2, value * scale).toFixed(1)
  const behind =
    raw === undefined
      ? ''
      : `\n  <rect x="${LABEL}" y="${y}" width="${width(raw)}" height="${BAR}" fill="#d1d9e0"/>`
  const end = LABEL + Math.max(ours, raw ?? 0) * scale + 8
  return `  <text x="${LABEL - 12}" y="${y + 16}" text-anchor="end" fill="#1f2328">${label}</text>${behind}
  <rect x="${LABEL}" y="${y + 5}" width="${width(ours)}" height="${BAR - 10}" fill="#0969da"/>
  <text x="${end.toFixed(1)}" y="${y + 16}" fill="#59636e">${Math.round(ours)}</text>`
}
