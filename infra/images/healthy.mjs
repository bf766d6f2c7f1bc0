// Ends with 0 if what runs in this container says that it is well.
const { MESOBUS_HEALTH_URL: url = 'http://127.0.0.1:9464/health' } = process.env;
const response = await fetch(url);
const said = await response.text();
if (!response.ok) {
  console.error(said); // `docker inspect` shows it
  process.exitCode = 1;
}
