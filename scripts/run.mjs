// The one way in: `npm run demo`, `npm test` and `npm start -w reference-api` come here. It brings what is missing and
// then runs the command. Plain JavaScript on Node's own modules, because it runs before any package is installed; and
// nothing but old syntax in this file, so that an old Node can still say what it needs.
const NEEDED = [20, 19]

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  console.error(`Corral needs Node ${NEEDED.join('.')} or newer; this is ${process.versions.node}.`)
  console.error('Install a current one from https://nodejs.org, or with a version manager: nvm install 24')
  process.exit(1)
}

void import('./setup/main.mjs').then(({ main }) => main(process.argv.slice(2)))
