'use strict';
console.log('connecting to the database');
console.error('database says: password authentication failed for user "shop"');
require('http').createServer((req, res) => {
  res.statusCode = 500;
  res.end('cannot reach the database');
}).listen(Number(process.env.PORT), '127.0.0.1');
