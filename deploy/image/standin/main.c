#include "deploy/image/standin/standin_runner.h"

int main(int argc, char **argv)
{
    return standin_runner(argc, argv);
}
