# The service in the packaged app. It runs until it is ended; another process below it does, too.
echo "the service of the packaged app"
sleep 100000 &
wait
