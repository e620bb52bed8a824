// Boots the guest `tiny` with QEMU alone, without withvm, and prints the duration of each stage.
//
//   npm run build && node bench/cold-boot-floor.mjs [RUNS] [VARIANT…]
//
// The variants alternate in each run, so that a host that becomes slower affects all of them. A variant is a name of the table below, or a list
// of changes separated by slashes, such as `add:quiet/cpu:max`. "cpu" is the CPU time that QEMU used until the first result.
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ssh2 from 'ssh2'

const DIST = process.env.WITHVM_BENCH_DIST ?? new URL('../dist', import.meta.url).pathname
const { resolveImage } = await import(join(DIST, 'src/image/resolve-image.js'))
const { createOverlay } = await import(join(DIST, 'src/disk/overlay.js'))
const { buildSmbiosStrings } = await import(join(DIST, 'src/provisioning/credentials.js'))

const image = await resolveImage('tiny')
const dir = mkdtempSync(join(tmpdir(), 'withvm-floor-'))
const keys = ssh2.utils.generateKeyPairSync('ed25519')

/** Functions that change the plan of a boot. */
const VARIANTS = {
  base: (plan) => plan,
  bzimage: (plan) => ({ ...plan, kernel: process.env.BZIMAGE }),
  q35: (plan) => ({ ...plan, machine: plan.machine.replace('pc', 'q35') }),
  seabios: (plan) => ({ ...plan, bios: undefined }),
  qboot: (plan) => ({ ...plan, bios: 'qboot.rom' }),
  'cpu-max': (plan) => ({ ...plan, cpu: 'max' }),
  smp2: (plan) => ({ ...plan, smp: 2 }),
  verbose: (plan) => ({
    ...plan,
    append: [
      ...plan.append.filter((word) => word !== 'quiet'),
      'initcall_debug',
      'printk.time=1',
      'loglevel=8',
      'log_buf_len=1M',
    ],
  }),
}

const HOST_KEY = buildDropbearKey()
const runs = Number(process.argv[2] ?? 5)
const names = process.argv.slice(3)
if (names.length === 0) names.push('base')
const results = new Map(names.map((name) => [name, []]))
try {
  for (let run = 0; run < runs; run++) {
    for (const name of names)
      results.get(name).push(await boot(planOf(name), `${names.indexOf(name)}-${run}`))
  }
} finally {
  if (!process.env.KEEP) rmSync(dir, { recursive: true, force: true })
}
for (const [name, rows] of results) {
  const stages = Object.keys(rows[0]).map((stage) => `${stage} ${median(rows.map((row) => row[stage]))}`)
  const first = results.get(names[0])
  const ratio = (stage) => median(rows.map((row, run) => row[stage] / first[run][stage])).toFixed(3)
  console.log(`${name.padEnd(24)} ${stages.join('  ')}  ratio ${ratio('result')}, of cpu ${ratio('cpu')}`)
}

function planOf(name) {
  const plan = {
    kernel: image.directBoot.kernel,
    initrd: image.directBoot.initrd,
    append: image.directBoot.append,
    machine: 'pc,usb=off,vmport=off,smbus=off',
    cpu: 'qemu64,+rdrand',
    smp: 1,
  }
  return name.split('/').reduce(change, plan)
}

/** Applies a variant of the table, or a change such as `add:quiet`, `del:pci=`, `cpu:max`, `machine:q35`, `initrd:FILE`. */
function change(plan, part) {
  if (VARIANTS[part]) return VARIANTS[part](plan)
  const value = part.slice(part.indexOf(':') + 1)
  switch (part.split(':')[0]) {
    case 'add':
      return { ...plan, append: [...plan.append, value] }
    case 'del':
      return { ...plan, append: plan.append.filter((word) => !word.startsWith(value)) }
    case 'cpu':
    case 'machine':
    case 'initrd':
      return { ...plan, [part.split(':')[0]]: value }
    case 'qemu':
      return { ...plan, extra: [...(plan.extra ?? []), ...value.split(' ')] }
    default:
      throw new Error(`unknown variant ${part}`)
  }
}

async function boot(plan, name) {
  const overlay = join(dir, `${name}.qcow2`)
  await createOverlay({ base: image.disk, path: overlay })
  const port = await freePort()
  const strings = buildSmbiosStrings({
    'ssh.authorized_keys.root': Buffer.from(keys.public.trim()),
    'withvm.dropbear_host_key': HOST_KEY,
    'system.hostname': Buffer.from('bench'),
  })
  const smbios = strings.flatMap((text, index) => {
    const path = join(dir, `${name}.smbios${index}`)
    writeFileSync(path, text)
    return ['-smbios', `type=11,path=${path}`]
  })
  const args = [
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-accel',
    'tcg',
    '-machine',
    plan.machine,
    '-cpu',
    plan.cpu,
    '-smp',
    String(plan.smp),
    '-m',
    '256M',
    ...(plan.bios ? ['-bios', plan.bios] : []),
    '-kernel',
    plan.kernel,
    '-initrd',
    plan.initrd,
    '-append',
    plan.append.join(' '),
    '-drive',
    `if=none,id=disk,file=${overlay},format=qcow2,cache=unsafe`,
    '-device',
    'virtio-blk-pci,drive=disk',
    '-netdev',
    `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:22`,
    '-device',
    'virtio-net-pci,netdev=net,romfile=',
    '-device',
    'virtio-serial-pci',
    '-chardev',
    `socket,id=ga,path=${join(dir, name)}.ga,server=on,wait=off`,
    '-device',
    'virtserialport,chardev=ga,name=org.qemu.guest_agent.0',
    '-serial',
    'stdio',
    '-monitor',
    'none',
    ...smbios,
    ...(plan.extra ?? []),
  ]
  const startedAt = performance.now()
  const since = () => Math.round(performance.now() - startedAt)
  const qemu = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const marks = {}
  let log = ''
  try {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no SSH server after 60 s:\n${log}`)), 60_000)
      qemu.once('exit', (code) => reject(new Error(`QEMU ended with ${code}:\n${log}`)))
      qemu.stdout.on('data', (chunk) => {
        log += chunk
        if (marks.init === undefined && log.includes('withvm: init')) marks.init = since()
        if (marks.network === undefined && log.includes('withvm: network')) marks.network = since()
        if (marks.sshd === undefined && log.includes('withvm: sshd')) {
          marks.sshd = since()
          clearTimeout(timer)
          resolve()
        }
      })
    })
    const client = new ssh2.Client()
    await new Promise((resolve, reject) => {
      client.once('ready', resolve).once('error', (error) => reject(new Error(`${error.message}\n${log}`)))
      client.connect({
        host: '127.0.0.1',
        port,
        username: 'root',
        privateKey: keys.private,
        readyTimeout: 30_000,
        algorithms: { kex: ['curve25519-sha256'], serverHostKey: ['ssh-ed25519'] },
      })
      client.setNoDelay(true)
    })
    marks.login = since()
    const output = await execute(client, process.env.COMMAND ?? 'echo ok')
    marks.result = since()
    const ticks = readFileSync(`/proc/${qemu.pid}/stat`, 'utf8').split(') ')[1].split(' ')
    marks.cpu = (Number(ticks[11]) + Number(ticks[12])) * 10
    if (process.env.COMMAND) console.log(output)
    client.end()
  } finally {
    if (process.env.KEEP) writeFileSync(join(dir, `${name}.log`), log)
    qemu.removeAllListeners('exit')
    const gone = new Promise((resolve) => qemu.once('exit', resolve))
    qemu.kill('SIGKILL')
    await gone
  }
  const { init, sshd, login, result, cpu, network = 0 } = marks
  return { init, network, sshd, login, result, cpu }
}

function execute(client, command) {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => {
      if (error) return reject(error)
      let output = ''
      stream.on('data', (chunk) => {
        output += chunk
      })
      stream.stderr.on('data', (chunk) => {
        output += chunk
      })
      stream.on('close', () => resolve(output))
    })
  })
}

/** Builds a host key in the format of Dropbear: string "ssh-ed25519", then a string of 64 bytes with seed and public key. */
function buildDropbearKey() {
  const { privateKey } = generateKeyPairSync('ed25519')
  const { d, x } = privateKey.export({ format: 'jwk' })
  const text = (bytes) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes])
  const pair = Buffer.concat([Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')])
  return Buffer.concat([text(Buffer.from('ssh-ed25519')), text(pair)])
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}
