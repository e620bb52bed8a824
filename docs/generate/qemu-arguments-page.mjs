import { code, madeFrom } from './markdown.mjs'
import { ROWS } from './rows.mjs'

const INTRO =
  'Each heading is an argument of `qemu-kvm` or `qemu-system-…`, followed by the equivalent [options](options.md) and the tests that verify their effect in a guest. The option [`commandLine`](guide.md#existing-command-lines) accepts a complete command line.'

export async function qemuArgumentsPage() {
  const parts = [madeFrom('docs/generate/rows.mjs'), '# Arguments of QEMU', INTRO, ...ROWS.flatMap(renderRow)]
  return `${parts.join('\n\n')}\n`
}

function renderRow({ known, options, tests = [], gap }) {
  const links = options.map((option) => `[${code(option)}](options.md#${option.toLowerCase()})`)
  const titles = tests.map(([file, title]) => `- ${title.replaceAll(/%[sj]/g, '…')} (${code(file)})`)
  return [
    `## ${known}`,
    `${options.length === 1 ? 'Option' : 'Options'}: ${links.join(', ')}`,
    gap === undefined ? titles.join('\n') : 'Not tested yet.',
  ]
}
