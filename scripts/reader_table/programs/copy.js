// Eight at once, twice as many as Node has threads for that.
const fs = require('node:fs');
const [from, to] = process.argv.slice(2);
Promise.all(Array.from({length: 8}, () => fs.promises.readFile(from))).then(all => {
    if (!all.every(one => one.equals(all[0]))) process.exit(3);
    fs.writeFileSync(to, all[0]);
});
