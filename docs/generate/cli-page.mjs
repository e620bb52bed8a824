import { fence, madeFrom } from './markdown.mjs'

const INTRO = `The package installs one command, \`withvm\`. Run it with \`npx withvm …\` in a project that depends on withvm.

Errors go to stderr, and \`--json\` is the form for programs. Colors and headings are for readers: colors
appear only on a terminal, unless \`NO_COLOR\` or \`FORCE_COLOR\` is set. [Shell completion](#withvm-completion)
covers commands, options, guests and images.`

export async function cliPage({ dist }) {
  const { buildProgram } = await import(`${dist}/src/cli/program.js`)
  const program = buildProgram()
  return `${[madeFrom('the definitions of the commands'), '# Commands', INTRO, ...describe(program, 1)].join('\n\n')}\n`
}

/** Returns the help of a command and of the commands below it. */
function describe(command, depth) {
  const title = depth === 1 ? [] : [`${'#'.repeat(depth)} ${pathOf(command)}`]
  const below = command.createHelp().visibleCommands(command)
  return [
    ...title,
    fence('text', helpOf(command)),
    ...below.filter((sub) => sub.name() !== 'help').flatMap((sub) => describe(sub, depth + 1)),
  ]
}

function helpOf(command) {
  let text = ''
  command.configureOutput({
    writeOut: (part) => {
      text += part
    },
    getOutHelpWidth: () => 80,
    getOutHasColors: () => false,
  })
  command.outputHelp()
  return text.trimEnd()
}

function pathOf(command) {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
