// `npm run bench [-- --rounds N] [--only NAME,…] [--json FILE] [--chart FILE] [--peer NAME=COMMAND] [--own-image DISK]` compares withvm with raw QEMU and ssh2, alternating.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { withVM } from 'withvm'
import { drawChart } from './chart.mjs'
import { measureArchitectures } from './measure-architectures.mjs'
import { measureBoot, measureCommand, measureCopy, measureImport, measureOwnCost } from './measure-cold.mjs'
import { measureDebian } from './measure-debian.mjs'
import { measureFork, measureTenForks } from './measure-fork.mjs'
import { measureMachines } from './measure-machines.mjs'
import { measureNetboot } from './measure-netboot.mjs'
import { measureOwnImage } from './measure-own-image.mjs'
import { measureDebianPeers } from './measure-peers.mjs'
import {
  measureMemory,
  measurePeers,
  measureSizes,
  measureStandby,
  measureTen,
  measureWarm,
} from './measure-warm.mjs'

const MEASUREMENTS = {
  import: measureImport,
  own: measureOwnCost,
  boot: measureBoot,
  warm: measureWarm,
  standby: measureStandby,
  fork: measureFork,
  'ten-forks': measureTenForks,
  command: measureCommand,
  copy: measureCopy,
  sizes: measureSizes,
  memory: measureMemory,
  machines: measureMachines,
  ten: measureTen,
  debian: measureDebian,
  'own-image': measureOwnImage,
  'debian-peers': measureDebianPeers,
  netboot: measureNetboot,
  architectures: measureArchitectures,
}

/** Default measurements. The others take a quarter of an hour. */
const DEFAULTS = Object.keys(MEASUREMENTS).filter(
  (name) => !['debian-peers', 'netboot', 'architectures'].includes(name),
)

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    only: { type: 'string', default: DEFAULTS.join(',') },
    json: { type: 'string' },
    chart: { type: 'string' },
    peer: { type: 'string', multiple: true, default: [] },
    'own-image': { type: 'string' },
  },
})
const rounds = Number(values.rounds)
console.log(
  `Medians of ${rounds} rounds, milliseconds; ratios are medians of pairs measured one after the other.\n`,
)
const host = await withVM({ ready: 'none' }, (vm) => ({
  qemuPath: vm.qemuCommand.file,
  accelerator: vm.accelerator,
}))
const report = { rounds, accelerator: host.accelerator }
const folder = mkdtempSync(join(tmpdir(), 'bench-'))
const settings = { host, rounds, ownImage: values['own-image'], folder }
for (const name of values.only.split(',')) report[name] = await MEASUREMENTS[name](settings)
rmSync(folder, { recursive: true })
if (values.peer.length > 0) report.peers = await measurePeers({ peers: values.peer, ten: report.ten })
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
if (values.chart !== undefined) writeFileSync(values.chart, drawChart(report))
